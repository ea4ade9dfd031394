// Threads that share tasks and can be stopped in the middle of one.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "simd/target.hpp"

namespace lightfm_fast {

class Team;

// A thread's state while it works in a team.
class Worker {
public:
    Worker(Team& team, int number) : number(number), team_(team) {}
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    const int number;  // among the threads; 0 is the calling thread

    // Adds to the work done, roughly the floats read and written, and returns whether to stop. A task calls it before
    // all work that may take long. Once it has returned true, it always does.
    LIGHTFM_FAST_INLINE bool spend(int64_t work) {
        left_ -= work;
        return left_ < 0 && look();
    }

    // Whether spend() has returned true.
    bool has_to_stop() const { return left_ < 0; }

private:
    static constexpr int64_t kBetweenLooks = 1 << 20;  // work that takes at most a few milliseconds

    Team& team_;
    int64_t left_ = kBetweenLooks;  // work left until the next look for a reason to stop; below 0: stop

    inline bool look();
};

// Tasks 0 .. n_tasks - 1, shared by threads. The calling thread asks every few milliseconds whether to stop, also while
// it waits for the others: only that thread may run Python's signal handlers. Once a thread runs out of memory, all
// stop. No exception leaves a thread, since OpenMP would end the process.
class Team {
public:
    using Ask = bool (*)();

    void start(int64_t n_tasks, Ask ask) {
        n_tasks_ = n_tasks;
        ask_ = ask;
        next_ = done_ = 0;
        asked_ = Clock::now();
    }

    // The work of thread `number`: calls task(i, worker) for one task after another, until none is left.
    template <class Task>
    void work(int number, Task& task) noexcept {
        Worker worker(*this, number);
        while (!has_stopped()) {
            const int64_t i = next_.fetch_add(1);
            if (i >= n_tasks_) break;
            try {
                task(i, worker);
            } catch (...) {  // std::bad_alloc, or std::length_error of a vector
                lacks_memory_ = true;
            }
            ++done_;
            if (number == 0) look(number);
        }
        if (number == 0) wait();
    }

    bool has_stopped() const { return is_interrupted() || lacks_memory(); }
    bool is_interrupted() const { return is_interrupted_.load(std::memory_order_relaxed); }
    bool lacks_memory() const { return lacks_memory_.load(std::memory_order_relaxed); }

    bool look(int number) {
        if (number == 0 && !has_stopped()) {
            const auto now = Clock::now();
            if (now - asked_ > std::chrono::milliseconds(10)) {
                if (ask_()) is_interrupted_ = true;
                asked_ = Clock::now();
            }
        }
        return has_stopped();
    }

private:
    using Clock = std::chrono::steady_clock;

    int64_t n_tasks_ = 0;
    Ask ask_ = [] { return false; };
    std::atomic<int64_t> next_{0}, done_{0};
    std::atomic<bool> is_interrupted_{false}, lacks_memory_{false};
    Clock::time_point asked_;

    // Waits until the other threads are done.
    void wait() {
        constexpr int kYields = 1000;
        for (int turn = 0; done_ < std::min(next_.load(), n_tasks_) && !look(0); ++turn)
            turn < kYields ? std::this_thread::yield() : std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
};

inline bool Worker::look() {
    if (team_.look(number)) return true;
    left_ = kBetweenLooks;
    return false;
}

}  // namespace lightfm_fast
