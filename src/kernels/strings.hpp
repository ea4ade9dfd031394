// Numbers for the distinct strings of a column.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "vec.hpp"

namespace lightfm_fast {

struct Text {
    const uint8_t* bytes;
    int64_t size;
};

// Where Arrow keeps a column's text. A string column has the text of row i between two offsets, of 32 or 64 bits.
template <typename Offset>
struct TextByOffset {
    const Offset* offsets;
    const uint8_t* bytes;

    Text operator[](int64_t row) const {
        return {bytes + offsets[row], static_cast<int64_t>(offsets[row + 1] - offsets[row])};
    }
};

// A string-view column has 16 bytes a row: the length, then the text of up to 12 bytes or, of a longer one, four bytes,
// the buffer it stands in and its place there.
struct TextByView {
    const uint8_t* views;
    const uint8_t* const* buffers;

    Text operator[](int64_t row) const {
        const uint8_t* view = views + 16 * row;
        int32_t fields[4];
        std::memcpy(fields, view, sizeof fields);
        if (fields[0] <= 12) return {view + 4, fields[0]};
        return {buffers[fields[2]] + fields[3], fields[0]};
    }
};

// A hash table from text to its number, in the order in which the texts are first seen. Eight bytes a slot hold a
// 32-bit hash and where the text itself stands, in one array with the others: both are fetched ahead for a batch.
class TextNumbers {
public:
    TextNumbers() : slots_(1 << 12, kEmpty) {}

    int64_t size() const { return size_; }

    // The text that follows the one which ends at `place`, and is moved on; 0 is where the first begins.
    Text next_text(int64_t& place) const {
        const uint64_t* known = &texts_[place];
        const int64_t size = static_cast<int64_t>(known[0] >> 32);
        place += n_words(size);
        return {reinterpret_cast<const uint8_t*>(known + 1), size};
    }

    // Writes the number of each row's text, -1 where `validity` (a bit a row, from bit `first_bit` on; null: all are
    // there) says that there is none.
    template <typename Texts>
    void add(const Texts& texts, const uint8_t* validity, int64_t first_bit, int64_t size, int32_t* numbers) {
        Text batch[kBatch];
        uint32_t hashes[kBatch];
        for (int64_t first = 0; first < size; first += kBatch) {
            const int n = static_cast<int>(size - first < kBatch ? size - first : kBatch);
            for (int i = 0; i < n; ++i) {
                batch[i] = texts[first + i];
                hashes[i] = hash(batch[i]);
                prefetch_read(&slots_[hashes[i] & mask()]);
            }
            for (int i = 0; i < n; ++i) {
                const Slot slot = slots_[hashes[i] & mask()];
                if (slot.place != kNone) prefetch_read(&texts_[slot.place]);
            }
            for (int i = 0; i < n; ++i) {
                const int64_t bit = first_bit + first + i;
                const bool there = !validity || ((validity[bit / 8] >> (bit % 8)) & 1);
                numbers[first + i] = there ? find_or_add(batch[i], hashes[i]) : -1;
            }
        }
    }

private:
    static constexpr int kBatch = 32;

    struct Slot {
        uint32_t hash;
        uint32_t place;  // in texts_; its number, its size and its bytes stand there
    };
    static constexpr uint32_t kNone = ~uint32_t{0};
    static constexpr Slot kEmpty{0, kNone};

    std::vector<Slot> slots_;
    std::vector<uint64_t> texts_;
    int64_t size_ = 0;

    static int64_t n_words(int64_t size) { return 1 + (size + 7) / 8; }

    uint32_t mask() const { return static_cast<uint32_t>(slots_.size() - 1); }

    static uint64_t word(const uint8_t* bytes) {
        uint64_t value;
        std::memcpy(&value, bytes, sizeof value);
        return value;
    }

    // Up to 7 bytes, none read beyond them.
    static uint64_t part_of_word(const uint8_t* bytes, int64_t size) {
        if (size >= 4) {
            uint32_t first, last;
            std::memcpy(&first, bytes, sizeof first);
            std::memcpy(&last, bytes + size - 4, sizeof last);
            return first | static_cast<uint64_t>(last) << 32;
        }
        if (size == 0) return 0;
        return bytes[0] | static_cast<uint64_t>(bytes[size / 2]) << 8 | static_cast<uint64_t>(bytes[size - 1]) << 16;
    }

    // Words of eight bytes, the last one overlapping the one before it, mixed by multiplication.
    static uint32_t hash(Text text) {
        uint64_t mixed = static_cast<uint64_t>(text.size);
        auto mix = [&mixed](uint64_t value) {
            mixed = (mixed ^ value) * 0x9E3779B97F4A7C15ull;
            mixed ^= mixed >> 32;
        };
        if (text.size < 8) {
            mix(part_of_word(text.bytes, text.size));
        } else {
            for (int64_t i = 0; i + 8 < text.size; i += 8) mix(word(text.bytes + i));
            mix(word(text.bytes + text.size - 8));
        }
        mixed *= 0xD6E8FEB86659FD93ull;
        return static_cast<uint32_t>(mixed >> 32);
    }

    static bool equal(const uint8_t* first, const uint8_t* second, int64_t size) {
        if (size < 8) return part_of_word(first, size) == part_of_word(second, size);
        uint64_t difference = word(first + size - 8) ^ word(second + size - 8);
        for (int64_t i = 0; i + 8 < size; i += 8) difference |= word(first + i) ^ word(second + i);
        return difference == 0;
    }

    bool is(Slot slot, Text text, uint32_t hash) const {
        if (slot.hash != hash) return false;
        const uint64_t* known = &texts_[slot.place];
        return known[0] >> 32 == static_cast<uint64_t>(text.size) &&
               equal(reinterpret_cast<const uint8_t*>(known + 1), text.bytes, text.size);
    }

    int32_t find_or_add(Text text, uint32_t hash) {
        uint32_t at = hash & mask();
        while (slots_[at].place != kNone) {
            if (is(slots_[at], text, hash)) return static_cast<int32_t>(texts_[slots_[at].place]);
            at = (at + 1) & mask();
        }
        return add(text, hash, at);
    }

    int32_t add(Text text, uint32_t hash, uint32_t at) {
        const uint64_t place = texts_.size();
        if (place >= kNone || size_ == INT32_MAX || text.size > INT32_MAX)
            throw std::length_error("the distinct ids take more memory than can be numbered (32 GiB)");
        texts_.resize(place + n_words(text.size));
        texts_[place] = static_cast<uint64_t>(size_) | static_cast<uint64_t>(text.size) << 32;
        if (text.size) std::memcpy(&texts_[place + 1], text.bytes, text.size);
        slots_[at] = {hash, static_cast<uint32_t>(place)};
        if (2 * ++size_ > static_cast<int64_t>(slots_.size())) grow();
        return static_cast<int32_t>(size_ - 1);
    }

    void grow() {
        std::vector<Slot> old(4 * slots_.size(), kEmpty);
        old.swap(slots_);
        for (const Slot& slot : old) {
            if (slot.place == kNone) continue;
            uint32_t at = slot.hash & mask();
            while (slots_[at].place != kNone) at = (at + 1) & mask();
            slots_[at] = slot;
        }
    }
};

}  // namespace lightfm_fast
