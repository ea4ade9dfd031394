// Numbers for the distinct strings of a column.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "simd/prefetch.hpp"
#include "simd/words.hpp"

namespace lightfm_fast {

struct Text {
    const uint8_t* bytes;
    int64_t size;
};

// Eight bytes as a number.
inline uint64_t word(const uint8_t* bytes) {
    uint64_t value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

// Up to 7 bytes as a number, without reading beyond them.
inline uint64_t part_of_word(const uint8_t* bytes, int64_t size) {
    if (size >= 4) {
        uint32_t first, last;
        std::memcpy(&first, bytes, sizeof first);
        std::memcpy(&last, bytes + size - 4, sizeof last);
        return first | static_cast<uint64_t>(last) << 32;
    }
    if (size == 0) return 0;
    return bytes[0] | static_cast<uint64_t>(bytes[size / 2]) << 8 | static_cast<uint64_t>(bytes[size - 1]) << 16;
}

// Arrow's layouts of a text column. A string column has the text of row i between two offsets, of 32 or 64 bits.
template <typename Offset>
struct TextByOffset {
    const Offset* offsets;
    const uint8_t* bytes;

    Text operator[](int64_t row) const {
        return {bytes + offsets[row], static_cast<int64_t>(offsets[row + 1] - offsets[row])};
    }
};

// A string-view column has 16 bytes a row: the length, then the text if it has up to 12 bytes. For a longer text there
// are its first four bytes, the number of its buffer and its offset there.
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

// A hash by folded products with secret numbers, like wyhash (Wang 2019). Someone who chooses the texts, but does not
// know the numbers, cannot choose texts with equal hashes. SipHash was measured slower.
class KeyedHash {
public:
    KeyedHash() = default;
    KeyedHash(uint64_t first, uint64_t second, uint64_t third) : secret_{first, second, third} {}

    uint32_t operator()(Text text) const {
        uint64_t mixed = secret_[0];
        for (int64_t i = 0; i + 16 < text.size; i += 16)
            mixed = fold(word(text.bytes + i) ^ secret_[1], word(text.bytes + i + 8) ^ mixed);
        const uint8_t* end = text.bytes + text.size;
        uint64_t first, last = 0;
        if (text.size < 8) {
            first = part_of_word(text.bytes, text.size);
        } else {
            first = word(text.size < 16 ? text.bytes : end - 16);
            last = word(end - 8);
        }
        mixed = fold(first ^ secret_[1], last ^ mixed);
        return static_cast<uint32_t>(fold(mixed ^ static_cast<uint64_t>(text.size), secret_[2]));
    }

private:
    uint64_t secret_[3] = {};
};

// A hash table from text to its number, in the order in which the texts are first seen. A slot of eight bytes has a
// 32-bit hash and the text's place in an array of all texts. Slots and texts are prefetched for a batch.
class TextNumbers {
public:
    // `hash` has a secret key, so that nobody can choose texts that collide.
    void start(const KeyedHash& hash) {
        hash_ = hash;
        slots_.assign(1 << 12, kEmpty);
    }

    int64_t size() const { return size_; }

    // The longest run of taken slots, which limits the steps of a search.
    int64_t longest_run() const {
        int64_t longest = 0, run = 0;
        for (const Slot& slot : slots_) {
            run = slot.place == kNone ? 0 : run + 1;
            longest = run > longest ? run : longest;
        }
        return longest;
    }

    // Returns the text at `place`, and moves `place` to the end of the text; the first text begins at 0.
    Text next_text(int64_t& place) const {
        const uint64_t* known = &texts_[place];
        const int64_t size = static_cast<int64_t>(known[0] >> 32);
        place += n_words(size);
        return {reinterpret_cast<const uint8_t*>(known + 1), size};
    }

    // Writes the number of each row's text, or -1 for a missing one. `validity` has a bit for each row, from bit
    // `first_bit` on; null means that no text is missing.
    template <typename Texts>
    void add(const Texts& texts, const uint8_t* validity, int64_t first_bit, int64_t size, int32_t* numbers) {
        Text batch[kBatch];
        uint32_t hashes[kBatch];
        for (int64_t first = 0; first < size; first += kBatch) {
            const int n = static_cast<int>(size - first < kBatch ? size - first : kBatch);
            for (int i = 0; i < n; ++i) {
                batch[i] = texts[first + i];
                hashes[i] = hash_(batch[i]);
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
        uint32_t place;  // in texts_: there are the number, the size and the bytes
    };
    static constexpr uint32_t kNone = ~uint32_t{0};
    static constexpr Slot kEmpty{0, kNone};

    KeyedHash hash_;
    std::vector<Slot> slots_;
    std::vector<uint64_t> texts_;
    int64_t size_ = 0;

    static int64_t n_words(int64_t size) { return 1 + (size + 7) / 8; }

    uint32_t mask() const { return static_cast<uint32_t>(slots_.size() - 1); }

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

// Renumbers codes in place, in the order in which they are first seen; negative codes stay. `numbers` holds -1 for each
// code, and `first_seen` receives the old code of each new number. Returns the number of distinct codes.
inline int64_t renumber(int64_t size, int32_t* codes, int32_t* numbers, int32_t* first_seen) {
    int32_t n_seen = 0;
    for (int64_t i = 0; i < size; ++i) {
        if (codes[i] < 0) continue;
        int32_t& number = numbers[codes[i]];
        if (number < 0) {
            first_seen[n_seen] = codes[i];
            number = n_seen++;
        }
        codes[i] = number;
    }
    return n_seen;
}

}  // namespace lightfm_fast
