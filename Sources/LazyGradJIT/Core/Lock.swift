// The lock around shared tables. Uses nothing else of the engine.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A value that one thread at a time may look at.
///
/// The system's mutex rather than `Synchronization.Mutex`: on Linux that is built on a futex of its
/// own, which Thread Sanitizer does not know, so every access under it would be reported as a race.
package final class Lock<Value>: @unchecked Sendable {
  /// Accesses are exclusive by the lock, so the run-time's own check of that would be paid twice.
  @exclusivity(unchecked) private var value: Value
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>

  package init(_ value: Value) {
    self.value = value
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  @inline(__always)
  package func withLock<R>(_ body: (inout Value) throws -> R) rethrows -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }
}

/// Lets another thread run.
@inline(__always)
package func yieldThread() { sched_yield() }
