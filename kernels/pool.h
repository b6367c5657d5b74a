// Threads of our own: workers that spin shortly for the next call, then sleep.
//
// Not OpenMP: teams made by different XLA threads spin against each other (measured 2x slower).
// Not XLA's pool: it only schedules, so a barrier on it can dead-lock.
#pragma once

namespace longshort {

class Barrier;

struct Team {
  int index;    // this thread, 0..size-1
  int size;     // threads in the team, all running at once
  Barrier* barrier;
  void wait() const;  // until the whole team is here
};

// Calls body(data, team) on `threads` threads at once and returns when all have ended. When other
// calls hold the workers, or they cannot be started, the team is this thread alone: the result is
// the same, since no result depends on the size of the team. The body must not throw.
void run_team(int threads, void (*body)(void*, const Team&), void* data);

template <class Body>
void run_team(int threads, Body body) {
  run_team(
      threads, [](void* data, const Team& team) { (*static_cast<Body*>(data))(team); }, &body);
}

// Threads that a call which begins now should plan with: num_threads() less those at work in other
// calls, at least 1. With more threads than CPUs, a team would wait for those that have none.
int free_threads();

int num_threads();
bool set_num_threads(int n);

}  // namespace longshort
