// Tests of array memory: how much the pool keeps, and who counts as a reader of a storage.

import Foundation
import LazyGradJIT
import Testing

// One test at a time: they watch what the process keeps.
@Suite(.serialized) struct StorageTests {
  /// More than other tests keep or let go meanwhile.
  private static let noise = 128 << 20

  /// Nothing of the blocks is touched, so they take address space only.
  @Test func largeBlocksAreKeptUpToALimit() throws {
    StoragePool.shared.trim()
    var blocks = try (0..<8).map { _ in try Storage(byteCount: 300 << 20) }
    blocks.removeAll()
    let kept = StoragePool.shared.bytesCached
    #expect(kept > 300 << 20)
    #expect(kept <= 1 << 30 + Self.noise)
    StoragePool.shared.trim()
    #expect(StoragePool.shared.bytesCached < 300 << 20)
  }

  @Test func ofOneSizeAFewSmallBlocksAreKept() throws {
    StoragePool.shared.trim()
    let before = StoragePool.shared.bytesCached
    var blocks = try (0..<(4 * Self.noise >> 16)).map { _ in try Storage(byteCount: 1 << 16) }
    blocks.removeAll()
    let kept = StoragePool.shared.bytesCached - before
    #expect(kept <= 4 << 20 + Self.noise)
  }

  // MARK: Readers

  /// Records an operation on a storage, and keeps it until it is called again.
  private func read(_ storage: Storage) -> () -> Void {
    let tape = Tape.current
    let layout = LayoutTable.shared.intern(dims: [3])
    let operand = tape.locked {
      tape.makeSlot(
        storage: Unmanaged.passRetained(storage), layout: layout, offset: 0, type: .float64,
        isVariable: true)
    }
    let result = Tape.elementwise(.neg, operand, mode: RecordMode(tracking: true, guarding: true))
    return {
      Tape.release(result.slot)
      Tape.release(operand)
    }
  }

  private struct Sent<Value>: @unchecked Sendable { let value: Value }

  private final class Box<R>: @unchecked Sendable { var value: R? }

  private func onNewThread<R>(_ body: @escaping @Sendable () -> R) -> R {
    let box = Box<R>()
    let done = DispatchSemaphore(value: 0)
    Thread {
      box.value = body()
      done.signal()
    }.start()
    done.wait()
    return box.value!
  }

  /// The first tape that reads a storage counts by itself, all others together.
  @Test func readersOfOtherTapesAreCountedUpAndDown() throws {
    let storage = try Storage(byteCount: 24)
    storage.pointer.initializeMemory(as: Double.self, repeating: 1, count: 3)
    #expect(!storage.hasReaders)
    // One function and no tuple with one: Swift 6.2's compiler ends in an assertion otherwise.
    let sent = Sent(value: { read(storage) })
    for _ in 0..<3 {
      let letGo = read(storage)
      #expect(storage.hasReaders)
      let others = (0..<2).map { _ in onNewThread { Sent(value: sent.value()) } }
      letGo()
      #expect(storage.hasReaders)
      others[0].value()
      #expect(storage.hasReaders)
      others[1].value()
      #expect(!storage.hasReaders)
      #expect(MemoryGuard.lockHolders(of: storage) == [])
    }
  }
}
