// Parallel loops.
#pragma once

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "common.h"

namespace flaxblocks {

// How long a thread looks for what it waits for before it sleeps.
constexpr std::chrono::microseconds kLook{200};

// Returns whether `holds()` came true while looking for it.
//
// Without `pause`, for which a virtual machine's host would give the processor away.
template <typename F>
bool look(const F& holds) {
  const auto until = std::chrono::steady_clock::now() + kLook;
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= until) return false;
  }
  return true;
}

// Returns when `holds()` is true, which other threads are about to make it.
//
// Never yields: Linux takes each call for a slice of time that was used up, and lets whatever else
// runs come first for milliseconds. On 2 cores, one of them busy with another job at the lowest
// priority, EfficientNet-B0 takes 11.5 ms with yields and 5.8 without.
template <typename F>
void await(const F& holds) {
  if (look(holds)) return;
  while (!holds()) std::this_thread::sleep_for(kLook / 4);
}

// The processor that the thread is on; -1 where that is not told.
inline int processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Which processors a thread may be on, and is kept from for a moment.
//
// Linux may wake a thread on the processor of the one that woke it, where it waits while another
// rests: after 50 ms of rest helpers began 0.5 to 3 ms late, and begin after 0.05 to 0.1 when they may
// not wake there.
class Placement {
 public:
  // Keeps the thread from a processor, where it may be on others.
  void avoid(int taken) {
#if defined(__linux__)
    if (taken < 0 || taken == avoided_) return;
    if (avoided_ < 0 && sched_getaffinity(thread_, sizeof(all_), &all_)) return;
    cpu_set_t others = all_;
    CPU_CLR(taken, &others);
    if (!CPU_COUNT(&others)) return;
    if (!sched_setaffinity(thread_, sizeof(others), &others)) avoided_ = taken;
#endif
  }

  // Lets the thread be on all its processors again.
  void release() {
#if defined(__linux__)
    if (avoided_ >= 0) sched_setaffinity(thread_, sizeof(all_), &all_);
    avoided_ = -1;
#endif
  }

 private:
#if defined(__linux__)
  pid_t thread_ = static_cast<pid_t>(syscall(SYS_gettid));  // the one that makes it
  cpu_set_t all_;
  int avoided_ = -1;
#endif
};

// Threads that help in loops, shared by all calls.
//
// XLA's own sleep between two kernels of a network, and wake late, or on the processor of the thread
// that woke them: on 2 cores beside other jobs ResNet-50 takes 0.65 to 0.95 of the time with these,
// which look for work for a while before they sleep.
class Helpers {
 public:
  // Never destroyed: its threads run until the process ends.
  static Helpers& all() {
    static Helpers* const helpers = new Helpers;
    return *helpers;
  }

  // Lets up to `count` helpers call `work` with their number, from 1 on, unless later work finds them
  // first.
  void call(int64_t count, const std::function<void(int64_t)>& work) {
    if (count < 1) return;
    auto shared = std::make_shared<const std::function<void(int64_t)>>(work);
    int64_t wake;
    {
      const auto lock = locked();
      for (; running_ < count; ++running_) {
        sleeping_.reserve(running_ + 1);  // a helper cannot say that memory has run out
        std::thread([this, number = running_ + 1] { run(number); }).detach();
      }
      work_.swap(shared);
      wanted_ = count;
      caller_ = processor();
      wake = std::min(count, static_cast<int64_t>(sleeping_.size()));
      for (Placement* helper : sleeping_) helper->avoid(caller_);
      latest_.fetch_add(1, std::memory_order_release);
    }
    for (; wake > 0; --wake) changed_.notify_one();
  }

 private:
  // Takes the lock, which is held for a few instructions, without a call of the system: a helper that
  // slept until it was free would begin 10 to 40 us late.
  std::unique_lock<std::mutex> locked() {
    std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
    await([&] { return lock.try_lock(); });
    return lock;
  }

  void run(int64_t number) {
    Placement mine;
    for (uint64_t seen = 0;;) {
      look([&] { return latest_.load(std::memory_order_acquire) != seen; });
      std::shared_ptr<const std::function<void(int64_t)>> work;
      int caller;
      {
        auto lock = locked();
        if (latest_ == seen) {
          sleeping_.push_back(&mine);
          changed_.wait(lock, [&] { return latest_ != seen; });
          sleeping_.erase(std::find(sleeping_.begin(), sleeping_.end(), &mine));
        }
        seen = latest_;
        if (wanted_ > 0) --wanted_, work = work_;
        caller = caller_;
      }
      if (work && processor() == caller) mine.avoid(caller);
      mine.release();
      if (!work) continue;
      (*work)(number);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const std::function<void(int64_t)>> work_;
  std::vector<Placement*> sleeping_;
  int64_t running_ = 0, wanted_ = 0;
  int caller_ = -1;  // its processor
  std::atomic<uint64_t> latest_{0};
};

inline int64_t size(ffi::ThreadPool& threads) {
  return std::max<int64_t>(threads.num_threads(), 1);
}

// The items of one stage that a thread takes first, in a cache line of their own.
struct alignas(64) Share {
  int64_t first = 0, count = 0;
  std::atomic<int64_t> begun{0}, done{0};
};

// Which items of a loop have begun and are done.
class Progress {
 public:
  std::atomic<bool> failed{false};

  Progress(const std::vector<int64_t>& counts, int64_t shares)
      : stages_(static_cast<int64_t>(counts.size())), shares_(shares), all_(stages_ * shares) {
    for (int64_t i = 0; i < stages_ * shares; ++i) {
      const int64_t count = counts[i / shares], share = i % shares;
      all_[i].first = count * share / shares;
      all_[i].count = count * (share + 1) / shares - all_[i].first;
    }
  }

  // Calls `f(stage, i)` for all items that no other thread begins, the share of thread `who` before
  // the others'.
  template <typename F>
  void work(int64_t who, const F& f) {
    for (int64_t stage = 0; stage < stages_; ++stage) {
      if (stage > 0) wait(stage - 1);
      for (int64_t k = 0; k < shares_; ++k) work(stage, share(stage, (who + k) % shares_), f);
    }
  }

  // Waits for the last stage, and thereby for all.
  void wait() {
    if (stages_ > 0) wait(stages_ - 1);
  }

 private:
  Share& share(int64_t stage, int64_t i) { return all_[stage * shares_ + i]; }

  template <typename F>
  void work(int64_t stage, Share& some, const F& f) {
    for (int64_t i; some.begun.load(std::memory_order_relaxed) < some.count &&
                    (i = some.begun.fetch_add(1)) < some.count;) {
      try {
        if (!failed.load(std::memory_order_relaxed)) f(stage, some.first + i);
      } catch (const std::exception&) {
        failed.store(true, std::memory_order_relaxed);
      }
      some.done.fetch_add(1, std::memory_order_release);
    }
  }

  void wait(int64_t stage) {
    for (int64_t i = 0; i < shares_; ++i) {
      const Share& some = share(stage, i);
      await([&] { return some.done.load(std::memory_order_acquire) >= some.count; });
    }
  }

  const int64_t stages_, shares_;
  std::vector<Share> all_;  // by stage
};

// Calls `f(stage, i)` for all i below `counts[stage]`, stage after stage, on as many threads as XLA
// has, the calling one among them.
//
// A thread takes the same part of the items of each stage and call first, as far as there is one:
// what it wrote is in its own cache, and to read what another wrote takes five times as long where
// the processors share no cache.
//
// Several may call at once and helpers be elsewhere, so the caller does not wait for one to start: it
// takes the items that no one has started, and waits only for those that are running. A late helper
// finds nothing to do; one that has started stays for all stages, as waking it costs more than a
// small stage.
//
// Where memory runs out on any thread, what has not begun is left out, and the caller is told.
template <typename F>
void parallel_stages(ffi::ThreadPool& threads, const std::vector<int64_t>& counts, const F& f) {
  const int64_t widest = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  const int64_t workers = std::max<int64_t>(std::min(widest, size(threads)), 1);
  auto progress = std::make_shared<Progress>(counts, workers);
  try {
    Helpers::all().call(workers - 1, [progress, &f](int64_t who) { progress->work(who, f); });
  } catch (const std::exception&) {
    // Memory or threads have run out: without help then.
  }
  progress->work(0, f);
  progress->wait();
  if (progress->failed.load(std::memory_order_relaxed)) throw std::bad_alloc();
}

// Calls `f(i)` for all i below `count`.
template <typename F>
void parallel_for(ffi::ThreadPool& threads, int64_t count, const F& f) {
  parallel_stages(threads, {count}, [&](int64_t, int64_t i) { f(i); });
}

// Sums the arrays of all bands, which are stored one after the other, in order.
template <typename T>
void add_bands(ffi::ThreadPool& threads, const std::vector<T>& sums, int64_t bands, T* result) {
  constexpr int64_t kPiece = 4096;
  const int64_t size = static_cast<int64_t>(sums.size()) / bands;
  parallel_for(threads, ceil_div(size, kPiece), [&](int64_t piece) {
    const int64_t first = piece * kPiece, last = std::min(first + kPiece, size);
    std::copy(sums.begin() + first, sums.begin() + last, result + first);
    for (int64_t band = 1; band < bands; ++band) {
      for (int64_t i = first; i < last; ++i) result[i] += sums[band * size + i];
    }
  });
}

}  // namespace flaxblocks
