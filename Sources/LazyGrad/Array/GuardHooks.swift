// The border between host arrays and recorded work: what a write has to ask the engine first.

internal import LazyGradJIT

/// What the writers of `NDArray` need to know of the graphs that read a storage.
///
/// Only called for a storage that has readers at all; a write to any other array costs two loads.
enum GuardHooks {
  /// The names of the live, guarded operations that read the storage; empty: nothing locks it.
  static func lockHolders(_ storage: Storage) -> [String] { Engine.lockHolders(of: storage) }

  /// Computes every recorded operation that would otherwise see the storage after the write.
  ///
  /// - Throws: `TensorError` if there is no memory for the results: the write must not happen then.
  static func forceReaders(_ storage: Storage) throws(TensorError) {
    do throws(StorageError) { try Engine.forceReaders(of: storage) } catch {
      throw tensorError(error, in: "NDArray")
    }
  }
}
