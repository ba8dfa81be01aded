// The memory of arrays: one aligned block and who still has to read it. Uses StoragePool and
// nothing later in the pipeline.

import Synchronization

/// A block of array memory, 64-byte aligned, taken from the pool and given back when the last
/// owner lets go.
///
/// Every block is at least `StoragePool.slack` bytes longer than asked for, so vector loops may
/// read (and, in memory that they own from its start, write) past the last element up to the end
/// of a vector.
public final class Storage: @unchecked Sendable {
  package let pointer: UnsafeMutableRawPointer
  /// Bytes asked for. Changes only between two lives of the object (`SpareStorages`).
  @exclusivity(unchecked) package internal(set) var byteCount: Int
  /// Which blocks of the pool this is one of; `lent` where the memory is somebody else's.
  let sizeClass: Int
  private static let lent = Int.max

  /// The tape that reads this memory most: its records are counted without an atomic
  /// read-modify-write, under that tape's lock. 0 while nobody has read it.
  let home = Atomic<UInt>(0)
  /// Live leaf records of the home tape, written under its lock only.
  let homeRecords = Atomic<Int>(0)
  /// Live leaf records of all other tapes.
  let foreignRecords = Atomic<Int>(0)

  /// Something else that lives as long as what reads this memory: the rule of a custom operation, or the
  /// owner of lent memory. Set before anybody else knows the storage.
  @exclusivity(unchecked) package var attachment: AnyObject?

  /// The next one of those that nobody uses, between two lives of the object.
  @exclusivity(unchecked) var nextSpare: Unmanaged<Storage>?

  /// Takes uninitialised memory from the pool.
  ///
  /// - Throws: `StorageError` where the size is over the limit or the system has no memory.
  package init(byteCount: Int) throws(StorageError) {
    let block = try StoragePool.shared.take(byteCount)
    pointer = block.pointer
    sizeClass = block.sizeClass
    self.byteCount = byteCount
  }

  /// A few bytes whatever the limit, for what can't fail: what stands in the place of a value for which
  /// there is no memory, or is printed. Ends the program where the system has not even these.
  package init(unlimited byteCount: Int) {
    guard let block = try? StoragePool.shared.take(byteCount, isLimited: false) else {
      fatalError("LazyGrad: no memory for \(byteCount) bytes")
    }
    pointer = block.pointer
    sizeClass = block.sizeClass
    self.byteCount = byteCount
  }

  /// Memory that somebody else owns: read here and by others, written by nobody. It has to be 64-byte
  /// aligned and to have the slack of a block, which is read.
  ///
  /// Everybody who reads it has a storage of their own, so tasks that share weights share no counts.
  ///
  /// - Parameter owner: Keeps the memory.
  package init(lent pointer: UnsafeMutableRawPointer, byteCount: Int, owner: AnyObject) {
    self.pointer = pointer
    sizeClass = Self.lent
    self.byteCount = byteCount
    attachment = owner
  }

  deinit { if !isLent { StoragePool.shared.give(pointer, sizeClass: sizeClass) } }

  /// Whether the memory is somebody else's.
  package var isLent: Bool { sizeClass == Self.lent }

  /// Whether any recorded operation that is still alive reads this memory.
  ///
  /// One or two loads: the question that every host write asks first. False means that nothing
  /// pending or guarded can be affected.
  package var hasReaders: Bool {
    homeReader != nil || hasForeignReaders
  }
  /// The home tape, if it has live records.
  var homeReader: UInt? {
    homeRecords.load(ordering: .acquiring) == 0 ? nil : home.load(ordering: .relaxed)
  }
  /// Whether another tape has.
  var hasForeignReaders: Bool { foreignRecords.load(ordering: .acquiring) != 0 }
}

/// Why there is no memory for an array, or no value to put there.
package enum StorageError: Error, Equatable {
  /// The value depends on a sample that stands for all of a batch.
  case unknownSample
  /// The system refused, or the limit of the pool is reached.
  case outOfMemory(byteCount: Int, limit: Int)
}
