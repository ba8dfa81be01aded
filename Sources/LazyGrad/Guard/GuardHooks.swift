// The border between host arrays and recorded work: what a write has to ask first. Which graphs lock a
// storage is found by the engine's pass (its file MemoryGuard.swift); every writer of `NDArray` asks here,
// by way of `prepareForWriting`.

internal import LazyGradJIT

/// What the writers of `NDArray` need to know of the graphs that read a storage.
///
/// Only called for a storage that has readers at all; a write to any other array costs two loads.
enum GuardHooks {
  /// The names of the live, guarded operations that read the storage; empty: nothing locks it.
  static func lockHolders(_ storage: Storage) -> [String] {
    MemoryGuard.lockHolders(of: storage)
  }

  /// Computes every recorded operation that would otherwise see the storage after the write.
  ///
  /// - Throws: `TensorError` if there is no memory for the results: the write must not happen then.
  static func forceReaders(_ storage: Storage) throws(TensorError) {
    do throws(StorageError) { try MemoryGuard.forceReaders(of: storage) } catch {
      throw tensorError(error, in: "NDArray")
    }
  }
}
