// What one tape keeps of the storages that it has let go, for its next results. Uses StoragePool and
// Storage.

import Synchronization

/// Small storages that a tape was the last to let go of: objects together with their blocks.
///
/// A result of a small program would otherwise cost an object and a block to make and as much to
/// give back, which together is as much as a product of 16 x 16 matrices takes. Who has the tape's
/// lock takes and gives. The pool counts and empties all of them from any thread (`trim`), so what is
/// here is memory that nobody uses, like what the pool itself keeps. All tapes together keep no more
/// than `StoragePool.spareLimit`, in equal shares.
///
/// Of each class of sizes there is a list, linked through the storages. To look at the lists costs who
/// has the tape's lock no atomic read-modify-write, which would take longer than the rest:
///
///     tape:  busy = 1;  claimed == 0?  ...  busy = 0      else: busy = 0, and all goes to the pool
///     pool:  claimed = 1;  fence everywhere;  until busy == 0;  ...  claimed = 0
///
/// The fence is the one of `TapeLock`; where the system has none both sides put one of their own.
package struct SpareStorages: @unchecked Sendable {
  /// Most bytes that one list keeps; the rest goes to the pool, where all threads find it.
  private static let listLimit = 1 << 18

  private struct List {
    var first: Unmanaged<Storage>?
    var count = 0
  }

  private struct State: ~Copyable {
    /// 1: who has the tape's lock looks at the lists, or finds out that the pool does.
    let busy = Atomic<UInt32>(0)
    /// 1: the pool looks at the lists, or waits to.
    let claimed = Atomic<UInt32>(0)
    let hasFence = AsymmetricFence.isAvailable
    let lists: UnsafeMutablePointer<List>
    /// Bytes in the lists together, and how many there may be: this tape's share of what all tapes may
    /// keep.
    var byteCount = 0
    let limit = Atomic<Int>(0)
    /// Storages that have been handed out again.
    var taken = 0
    /// Here because a global is asked for through a call.
    unowned(unsafe) let pool: StoragePool
  }

  /// Never freed, like the tapes.
  private let state: UnsafeMutablePointer<State>

  /// An empty collection, which the pool knows of from now on.
  init() {
    let lists = UnsafeMutablePointer<List>.allocate(capacity: StoragePool.smallClassCount)
    lists.initialize(repeating: List(), count: StoragePool.smallClassCount)
    state = .allocate(capacity: 1)
    state.initialize(to: State(lists: lists, pool: .shared))
    StoragePool.shared.register(self)
  }

  // MARK: For who has the tape's lock

  /// Whether the lists may be looked at; then `leave` ends that.
  @inline(__always)
  private func enter() -> Bool {
    state.pointee.busy.store(1, ordering: .relaxed)
    if !state.pointee.hasFence { atomicMemoryFence(ordering: .sequentiallyConsistent) }
    if state.pointee.claimed.load(ordering: .acquiring) == 0 { return true }
    leave()
    return false
  }

  @inline(__always)
  private func leave() { state.pointee.busy.store(0, ordering: .releasing) }

  /// Uninitialised memory with one reference to it.
  ///
  /// - Throws: `StorageError` where the size is over the limit or the system has no memory.
  @inline(__always)
  func take(_ byteCount: Int) throws(StorageError) -> Unmanaged<Storage> {
    if byteCount >= 0, byteCount <= StoragePool.smallBlock, enter() {
      let index = StoragePool.sizeClass(byteCount)
      let list = state.pointee.lists + index
      let spare = list.pointee.first
      if let spare {
        spare._withUnsafeGuaranteedRef {
          list.pointee.first = $0.nextSpare
          $0.byteCount = byteCount
        }
        list.pointee.count &-= 1
        state.pointee.byteCount &-= StoragePool.capacity(ofClass: index)
        state.pointee.taken &+= 1
      }
      leave()
      if let spare { return spare }
    }
    return Unmanaged.passRetained(try Storage(byteCount: byteCount))
  }

  /// Takes over a reference. Where it is the last one, the storage is kept.
  ///
  /// - Returns: false where the storage takes code of the program along. The reference is still the
  ///   caller's then, to be given up when the tape is not locked.
  @inline(__always)
  func give(_ reference: Unmanaged<Storage>) -> Bool {
    if reference.isLast {
      if keep(reference) { return true }
      if reference._withUnsafeGuaranteedRef({ $0.attachment != nil }) { return false }
    }
    reference.release()
    return true
  }

  /// Keeps a storage to which there is one reference, if it is one that is kept.
  @inline(__always)
  private func keep(_ spare: Unmanaged<Storage>) -> Bool {
    spare._withUnsafeGuaranteedRef { storage in
      let index = storage.sizeClass
      if index >= StoragePool.smallClassCount || storage.attachment != nil
        || state.pointee.pool.isOverLimit || !enter()
      {
        return false
      }
      assert(!storage.hasReaders, "LazyGrad: a storage that nobody has is read by a record")
      let list = state.pointee.lists + index
      let capacity = StoragePool.capacity(ofClass: index)
      var surplus: Unmanaged<Storage>?
      let isKept =
        list.pointee.count &* capacity < Self.listLimit
        && (state.pointee.byteCount &+ capacity <= state.pointee.limit.load(ordering: .relaxed)
          || makeRoom(for: index, &surplus))
      if isKept {
        state.pointee.byteCount &+= capacity
        storage.home.store(0, ordering: .relaxed)
        storage.nextSpare = list.pointee.first
        list.pointee.first = spare
        list.pointee.count &+= 1
      }
      leave()
      if let surplus { Self.release(listFrom: surplus) }
      return isKept
    }
  }

  /// Takes storages off the lists that have the most bytes, half of one at a time, until there is room for one
  /// of a class. Without that a tape whose share is full of sizes that its program has done with, or that of a
  /// thread that has ended, would keep none of those that are used now.
  ///
  /// - Parameter surplus: The list of what is to be released when the lists are left.
  /// - Returns: Whether there is room; not where the class's own list is the longest.
  @inline(never)
  private func makeRoom(for index: Int, _ surplus: inout Unmanaged<Storage>?) -> Bool {
    let lists = state.pointee.lists
    func bytes(_ index: Int) -> Int { lists[index].count * StoragePool.capacity(ofClass: index) }
    let capacity = StoragePool.capacity(ofClass: index)
    let limit = state.pointee.limit.load(ordering: .relaxed)
    while state.pointee.byteCount + capacity > limit {
      let longest = (0..<StoragePool.smallClassCount).max { bytes($0) < bytes($1) }!
      if longest == index || lists[longest].count == 0 { return false }
      for _ in 0..<(lists[longest].count + 1) / 2 {
        let storage = lists[longest].first.unsafelyUnwrapped
        storage._withUnsafeGuaranteedRef {
          lists[longest].first = $0.nextSpare
          $0.nextSpare = surplus
        }
        surplus = storage
        lists[longest].count -= 1
        state.pointee.byteCount -= StoragePool.capacity(ofClass: longest)
      }
    }
    return true
  }

  private static func release(listFrom first: Unmanaged<Storage>) {
    var rest: Unmanaged<Storage>? = first
    while let storage = rest {
      rest = storage._withUnsafeGuaranteedRef { $0.nextSpare }
      storage.release()
    }
  }

  // MARK: For the pool, one thread at a time

  /// Keeps the tapes off their lists while `body` runs.
  static func withClaimed<R>(_ all: [SpareStorages], _ body: () -> R) -> R {
    for spares in all { spares.state.pointee.claimed.store(1, ordering: .relaxed) }
    if AsymmetricFence.isAvailable {
      AsymmetricFence.run()
    } else {
      atomicMemoryFence(ordering: .sequentiallyConsistent)
    }
    for spares in all {
      while spares.state.pointee.busy.load(ordering: .acquiring) != 0 { yieldThread() }
    }
    let result = body()
    for spares in all { spares.state.pointee.claimed.store(0, ordering: .releasing) }
    return result
  }

  /// Gives everything to the pool.
  func empty() {
    for index in 0..<StoragePool.smallClassCount {
      if let first = state.pointee.lists[index].first { Self.release(listFrom: first) }
      state.pointee.lists[index] = List()
    }
    state.pointee.byteCount = 0
  }

  /// Sets how many bytes may be kept; where more are, none is.
  func setLimit(_ bytes: Int) {
    state.pointee.limit.store(bytes, ordering: .relaxed)
    if byteCount > bytes { empty() }
  }

  /// Storages that have been handed out again.
  var taken: Int { state.pointee.taken }

  /// Bytes that are kept here.
  var byteCount: Int { state.pointee.byteCount }
}

extension Unmanaged<Storage> {
  /// Whether nobody else has a reference.
  @inline(__always)
  fileprivate var isLast: Bool {
    var reference = self
    let isLast = withUnsafeMutablePointer(to: &reference) {
      // A reference that isn't counted and one that is have the same form.
      isKnownUniquelyReferenced(
        &UnsafeMutableRawPointer($0).assumingMemoryBound(to: Storage.self).pointee)
    }
    // What other threads did before they let go has happened then.
    if isLast { atomicMemoryFence(ordering: .acquiring) }
    return isLast
  }
}
