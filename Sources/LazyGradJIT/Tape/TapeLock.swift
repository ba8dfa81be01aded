// The lock of a tape: almost always taken by the thread that records on it, so that thread pays no
// atomic read-modify-write. Uses nothing else of the engine but `Tape`'s address.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import Synchronization

/// A lock that belongs to one thread until another one wants it.
///
/// Its owner says in `busy` that it is inside, and then looks whether it still is the owner. Another
/// thread takes `word`, which all but the owner compete for, takes the ownership away, and waits
/// until the owner is not inside. Between the owner's store and its load there would have to be a
/// fence, which costs as much as the read-modify-write that it is to save; instead whoever takes the
/// ownership away makes the system put a fence into every thread of the process (`AsymmetricFence`,
/// 1.2 us). A thread gets its tape back when it has come in 1024 times in a row, so that this is about
/// 1 ns of each time at most.
///
/// Where the system has no such fence nobody ever owns a lock, and all compete for `word`.
///
///     owner:  busy = 1;  owner == me?  ...  busy = 0
///     other:  word 0 -> 1;  owner = 0;  fence everywhere;  until busy == 0;  ...  word = 0
struct TapeLock: ~Copyable {
  /// 1: a thread that is not the owner is inside, or about to be.
  let word = Atomic<UInt32>(0)
  /// 1: the owner is inside, or finding out that it is owner no more.
  let busy = Atomic<UInt32>(0)
  /// The thread that needs `busy` only; 0 for none. Changed by who has `word`.
  let owner = Atomic<UInt>(0)

  init() {}

  /// What only who is inside looks at. Apart from the rest, because to change a member of a structure
  /// counts as an access to all of it.
  struct Inside {
    /// What is to be done on the way out; usually nothing.
    var duties = Duties()
    /// Who came in last by `word`, and how often in a row.
    var last: UInt = 0
    var streak = 0
  }

  struct Duties: OptionSet {
    let rawValue: UInt8
    /// Who is inside came in by `word`.
    static var word: Duties { Duties(rawValue: 1) }
    /// The tape has leftovers, which are released when it is not locked any more.
    static var leftovers: Duties { Duties(rawValue: 2) }
  }
}

extension Tape {
  /// The lock stands before the state, in a cache line of its own: it is the one thing of a tape that
  /// is touched without holding it.
  @inline(__always)
  private var lockState: UnsafeMutablePointer<TapeLock> {
    (UnsafeMutableRawPointer(state) - Tape.lockBytes).assumingMemoryBound(to: TapeLock.self)
  }
  @inline(__always)
  private var inside: UnsafeMutablePointer<TapeLock.Inside> {
    (UnsafeMutableRawPointer(state) - Tape.insideBytes).assumingMemoryBound(
      to: TapeLock.Inside.self)
  }
  private static var lockBytes: Int { 64 }
  private static var insideBytes: Int { 32 }

  /// A new tape of the calling thread, in memory that is never given back.
  static func make() -> Tape {
    precondition(
      MemoryLayout<TapeLock>.size <= lockBytes - insideBytes
        && MemoryLayout<TapeLock.Inside>.size <= insideBytes,
      "LazyGrad: the lock needs more room")
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: lockBytes + MemoryLayout<TapeState>.size, alignment: 64)
    memory.initializeMemory(as: TapeLock.self, to: TapeLock())
    (memory + lockBytes - insideBytes).initializeMemory(
      as: TapeLock.Inside.self, to: TapeLock.Inside())
    let state = (memory + lockBytes).bindMemory(to: TapeState.self, capacity: 1)
    state.initialize(to: TapeState())
    let tape = Tape(state: state)
    if AsymmetricFence.isAvailable {
      tape.lockState.pointee.owner.store(Tape.thread, ordering: .relaxed)
    }
    return tape
  }

  /// The calling thread; 0 where no lock has an owner.
  @inline(__always)
  private static var thread: UInt {
    #if canImport(Glibc)
      UInt(pthread_self())
    #else
      0
    #endif
  }

  /// Runs `body` with the tape to itself.
  @inline(__always)
  package func locked<R>(_ body: () -> R) -> R {
    lock()
    defer { unlock() }
    return body()
  }

  /// For the owner: a call that reads a register, three loads and a store. No compiler moves an atomic
  /// load before an atomic store of the same thread, although a relaxed one would allow it.
  @inline(__always)
  package func lock() {
    let me = Tape.thread
    let lock = lockState
    if me != 0, lock.pointee.owner.load(ordering: .relaxed) == me,
      lock.pointee.busy.load(ordering: .relaxed) == 0
    {
      lock.pointee.busy.store(1, ordering: .relaxed)
      if lock.pointee.owner.load(ordering: .acquiring) == me { return }
      lock.pointee.busy.store(0, ordering: .releasing)
    }
    lockSlowly(me)
  }

  /// Locks the tape if that is possible at once: for who may have it already.
  func tryLock() -> Bool {
    let lock = lockState
    guard lock.pointee.word.compareExchange(expected: 0, desired: 1, ordering: .acquiring).exchanged
    else { return false }
    let owner = lock.pointee.owner.load(ordering: .relaxed)
    if owner != 0 {
      lock.pointee.owner.store(0, ordering: .relaxed)
      AsymmetricFence.run()
      if lock.pointee.busy.load(ordering: .acquiring) != 0 {
        lock.pointee.owner.store(owner, ordering: .relaxed)
        lock.pointee.word.store(0, ordering: .releasing)
        return false
      }
    }
    inside.pointee.streak = 0
    inside.pointee.duties = .word
    return true
  }

  @inline(__always)
  package func unlock() {
    if inside.pointee.duties.rawValue == 0 {
      lockState.pointee.busy.store(0, ordering: .releasing)
    } else {
      unlockSlowly()
    }
  }

  @inline(never)
  private func lockSlowly(_ me: UInt) {
    let lock = lockState
    takeWord()
    if lock.pointee.owner.load(ordering: .relaxed) != 0 {
      expelOwner()
    } else if inside.pointee.last != me {
      inside.pointee.last = me
      inside.pointee.streak = 0
    } else {
      inside.pointee.streak &+= 1
    }
    inside.pointee.duties = .word
  }

  @inline(never)
  private func unlockSlowly() {
    let leftovers = takeLeftovers()
    let isByWord = inside.pointee.duties.contains(.word)
    inside.pointee.duties = []
    if isByWord {
      giveWord()
    } else {
      lockState.pointee.busy.store(0, ordering: .releasing)
    }
    Leftovers.release(leftovers)
  }

  private func giveWord() {
    if inside.pointee.streak >= 1024 {
      inside.pointee.streak = 0
      // Not on the way in: locking again would then go past `word`. Only the tape's own thread, which
      // gives it up when it ends (`disown`).
      if AsymmetricFence.isAvailable, Tape.current == self {
        lockState.pointee.owner.store(inside.pointee.last, ordering: .relaxed)
      }
    }
    lockState.pointee.word.store(0, ordering: .releasing)
  }

  private func takeWord() {
    Tape.spin {
      lockState.pointee.word.compareExchange(
        expected: 0, desired: 1, ordering: .acquiring
      ).exchanged
    }
  }

  private func expelOwner() {
    lockState.pointee.owner.store(0, ordering: .relaxed)
    AsymmetricFence.run()
    Tape.spin { lockState.pointee.busy.load(ordering: .acquiring) == 0 }
    inside.pointee.streak = 0
  }

  @inline(__always)
  private static func spin(until isDone: () -> Bool) {
    var spins = 0
    while !isDone() {
      spins += 1
      if spins > 64 { yieldThread() }
    }
  }

  /// The end of the thread that owns the lock: the system may give its number to another one.
  func disown() {
    takeWord()
    lockState.pointee.owner.store(0, ordering: .relaxed)
    lockState.pointee.word.store(0, ordering: .releasing)
  }

  // MARK: Leftovers

  /// Takes over a reference to memory that the tape has no use for any more.
  @inline(__always)
  func give(_ storage: Unmanaged<Storage>) {
    if !state.pointee.spares.give(storage) { leave(storage) }
  }

  /// Puts aside what takes code of the program along: a closure of it may be the last owner of tensors,
  /// or of anything else that ends with code of its own, and that must find the tape unlocked.
  @inline(never)
  private func leave(_ storage: Unmanaged<Storage>) {
    state.pointee.leftovers.append(storage)
    inside.pointee.duties.insert(.leftovers)
  }

  /// What has been put aside, for who unlocks several tapes.
  func takeLeftovers() -> [Unmanaged<Storage>] {
    guard inside.pointee.duties.contains(.leftovers) else { return [] }
    inside.pointee.duties.remove(.leftovers)
    var result: [Unmanaged<Storage>] = []
    while let storage = state.pointee.leftovers.popLast() { result.append(storage) }
    return result
  }

  /// Runs the program's code in the middle of a pass, which holds the lock. The records stay where they
  /// are meanwhile; all else may have changed when it is over.
  package func unlocked<R>(_ body: () -> R) -> R {
    suspendPass()
    let outer = state.pointee.suspendingThread
    state.pointee.suspendingThread = Tape.current
    unlock()
    defer {
      lock()
      state.pointee.suspendingThread = outer
      resumePass()
    }
    return body()
  }
}
