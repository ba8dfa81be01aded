// The end of what the program's own code is attached to: outside of every lock, and without recursion.
// Uses Core.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Storages with attachments that a tape has put aside while it was locked.
///
/// To release one may end the last tensor of another graph, and that graph's end another one, as long as
/// the program likes. So the first on a thread releases all, one after the other, and those that it meets
/// on the way queue up.
enum Leftovers {
  private final class Queue {
    var storages: [Unmanaged<Storage>]
    init(_ storages: [Unmanaged<Storage>]) { self.storages = storages }
  }

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    precondition(pthread_key_create(&key, nil) == 0, "LazyGrad: no thread-specific data left")
    return key
  }()

  /// Releases storages; no lock is held.
  static func release(_ storages: [Unmanaged<Storage>]) {
    if storages.isEmpty { return }
    if let running = pthread_getspecific(key) {
      Unmanaged<Queue>.fromOpaque(running).takeUnretainedValue().storages += storages
      return
    }
    let queue = Queue(storages)
    pthread_setspecific(key, Unmanaged.passUnretained(queue).toOpaque())
    while let storage = queue.storages.popLast() { storage.release() }
    pthread_setspecific(key, nil)
  }
}
