// The tape: an arena of node records, one per recording thread. This file holds the stored state and
// the way from a thread to its tape; the lock, recording and release are in the extensions.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import Synchronization

/// A handle to a tape. Tapes are recycled, never freed, so the pointer is always valid and costs no
/// reference counting.
///
/// Ids are positions in the arena. Creation order is a topological order, so every pass over the
/// graph is a loop over ids.
///
///      0            windowStart              count
///      | evaluated, tracked or left pending | the current window |
///
/// Operands never reach back past `windowStart`: a value from before is used through a leaf record
/// in the window. A window is forced at most once as a whole; then the next one begins, and when
/// no handle points into the arena any more it starts again from 0.
public struct Tape: Equatable, @unchecked Sendable {
  /// The stored state, read and written under the lock.
  public let state: UnsafeMutablePointer<TapeState>

  /// The arena.
  @inlinable @inline(__always)
  public var nodes: UnsafeMutablePointer<Node> { state.pointee.nodes }

  /// The record of an id.
  @inlinable
  public subscript(id: UInt32) -> Node {
    @inline(__always) unsafeAddress { UnsafePointer(state.pointee.nodes + Int(id)) }
    @inline(__always) nonmutating unsafeMutableAddress { state.pointee.nodes + Int(id) }
  }
}

/// The stored state of a tape. Everything is read and written under `lock`.
public struct TapeState: ~Copyable {
  /// The arena.
  public var nodes: UnsafeMutablePointer<Node>
  /// Records in use, dead ones included.
  public var count: UInt32 = 0
  @usableFromInline var capacity: UInt32
  /// Where the current window begins.
  public var windowStart: UInt32 = 0
  /// The running hash of the window's signature words.
  @usableFromInline var hash: UInt64 = TapeHash.seed
  // All that recording reads and writes of the state besides the tables stands in its first cache line.
  /// Handles that point at a node rather than at a value.
  var heldNodes = 0
  /// Bytes that the window's nodes would need if each were in memory.
  public var pendingBytes = 0
  /// Where it does something else than record.
  public var limits = TapeLimits()
  /// The oldest node that a leaf record of the window stands for.
  var lowestImport = UInt32.max
  /// The windows before this one that still lie where they were recorded.
  var earlier = RawList<EarlierWindow>()
  /// Numbers of earlier windows that this window repeats.
  var copiedNumbers = RawList<(source: UInt32, copy: UInt32)>()
  /// Whether the window reads a value from before it that is itself still pending.
  var readsPending = false
  /// The number of live records from which values that are carried on unread are computed; more than
  /// `limits` says once a large graph has turned out to stay.
  var lateLimit = 0
  /// No node before this one is held and pending.
  var firstPending: UInt32 = 0
  /// Dead records.
  var dead = 0
  /// The part of `capacity` that is the arena's reserve: there was no memory for a larger one.
  var usedReserve: UInt32 = 0
  /// Records that are not dead.
  var live: Int { Int(count) - dead }
  /// Plans of this tape that are running with the lock released.
  package var inFlight = 0
  /// How much of the window is known by the pass that was copied to it.
  var copied = CopiedRecords.none
  /// The dead records when the window began.
  var deadBefore = 0
  /// Backward passes that have let others use the tape and go on later. What they have gathered is read by
  /// them, which the words of a window don't say.
  var suspendedPasses = 0
  /// The thread that runs the program's code in the middle of a pass of this tape, by its tape; the last
  /// one, where there are several.
  var suspendingThread: Tape?
  /// Whether some node in the arena was cleared by a backward pass.
  public var hasCleared = false
  /// The records that the last backward pass wrote.
  var clearing: Range<UInt32> = 0..<0
  /// Nodes with a leaf record's count on a storage, or a reference to it.
  var owners = RawList<UInt32>()
  var work = RawList<UInt32>()
  /// What is to be released when the tape is not locked any more.
  var leftovers = RawList<Unmanaged<Storage>>()
  var freeSlots = RawList<SlotRef>()
  var recent = RecentObjects()
  var recentViews = RecentViews()
  let spares = SpareStorages()
  /// Tables that recording looks into, here because a global one is asked for through a call.
  let recording = Opcode.makeRecordingTable()
  @usableFromInline let layoutFacts = LayoutTable.factChunks
  let layouts = LayoutTable.layoutChunks
  /// States of passes that are over.
  var idlePasses = RawList<PassState>()
  /// Per node: how often a cut reads it. Zeros between two cuts.
  var marks = ZeroedWords()
  let views = ViewCache()
  let memos = ShapeMemos()
  package var counters = TapeCounters()
  /// How many functions of one sample are being recorded, one inside the other.
  var sampleRuns = 0
  /// What has been noted of the body of a compiled function, while the tape's thread records one.
  var body: BodyNotes?
  /// How often something of another tape was brought here, or something of this one to another.
  var joins = 0
  /// For how many of these at a time nothing is run for want of space, and the limits before.
  var liftedLimits = 0
  var limitsBefore = TapeLimits()

  init() {
    precondition(MemoryLayout<Node>.stride == 64, "LazyGrad: a node record must take 64 bytes")
    precondition(MemoryLayout<Slot>.stride == 64, "LazyGrad: a handle must take 64 bytes")
    capacity = 1024
    nodes = Tape.makeArena(1024)
  }
}

/// A window that has ended: where it begins, and what it was like at its end.
struct EarlierWindow {
  let start: UInt32
  let hash: UInt64
  let lowestImport: UInt32
}

/// The records of a window up to the last one that a copied pass has written, by the number of that pass.
///
/// They have been compared with those that the pass was recorded over, or are copies. So where the same pass was
/// copied to two windows, every word of these records is the same but for what has died since; whoever changes a
/// record that is there in another way says so (`noteEdit`).
struct CopiedRecords {
  /// 0: there are none.
  var pass: Int
  var count: UInt32
  static var none: CopiedRecords { CopiedRecords(pass: 0, count: 0) }
}

/// What one tape has done, for the process's counters.
package struct TapeCounters: Sendable {
  /// Of a tape: without those that are still in its arena, which `count` counts.
  package var nodesRecorded = 0
  package var planHits = 0
  /// Of these, those whose window was known as a whole.
  package var windowHits = 0
  /// Of these, those that were known by the pass that was copied to them.
  package var copiedWindowHits = 0
  package var planMisses = 0
  package var passesCopied = 0
  /// Calls of compiled functions that recorded nothing.
  package var replays = 0
  package var kernelsRun = 0
  package var bytesRead = 0
  package var bytesWritten = 0
  /// Results that were computed in the memory of an old value.
  package var resultsInPlace = 0
  /// Time in `force` outside kernels, and in kernels; only while it is being measured.
  package var overheadNanoseconds = 0
  package var kernelNanoseconds = 0
}

enum TapeHash {
  static let seed: UInt64 = 0x9E37_79B9_7F4A_7C15

  /// A well-mixed word for a position in the window.
  @inline(__always)
  static func mix(_ x: UInt64) -> UInt64 {
    var h = x &* 0xBF58_476D_1CE4_E5B9 &+ 0x94D0_49BB_1331_11EB
    h ^= h >> 31
    return h &* 0xD6E8_FEB8_6659_FD93
  }
}

// MARK: - Threads

extension Tape {
  private struct Registry {
    var all: [Tape] = []
    var idle: [Tape] = []
  }
  private static let registry = Lock(Registry())

  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    // A thread that ends leaves its tape, with whatever other threads still hold on it, to the next.
    pthread_key_create(&key) { raw in
      #if canImport(Darwin)
        let bits = UInt(bitPattern: raw)
      #else
        let bits = UInt(bitPattern: raw!)
      #endif
      Tape(state: UnsafeMutablePointer(bitPattern: bits)!).leaveToTheNext()
    }
    return key
  }()

  /// Ends the calling thread's use of it.
  func leaveToTheNext() {
    settleAlone()
    disown()
    Tape.registry.withLock { $0.idle.append(self) }
  }

  /// Gives the calling thread a tape on which nobody holds anything: for tests that look at its records.
  package static func renew() {
    let old = current
    takeEmpty().becomeCurrent()
    old.leaveToTheNext()
  }

  /// A tape on which nobody holds anything, for the calling thread.
  static func takeEmpty() -> Tape {
    var idle = registry.withLock { registry in
      defer { registry.idle = [] }
      return registry.idle
    }
    // No other thread records on an idle tape, but what lies there may be read or let go of. The one that was
    // left last may still be in the cache.
    let free = idle.lastIndex { tape in
      tape.lock()
      return tape.withSettled {
        tape.state.pointee.live == 0 && tape.state.pointee.heldNodes == 0
      }
    }
    let tape = free.map { idle.remove(at: $0) } ?? make()
    registry.withLock { registry in
      registry.idle += idle
      if free == nil { registry.all.append(tape) }
    }
    return tape
  }

  /// Makes it what the calling thread records on.
  func becomeCurrent() { pthread_setspecific(Tape.key, state) }

  /// The calling thread's tape.
  package static var current: Tape {
    if let raw = pthread_getspecific(key) {
      return Tape(state: raw.assumingMemoryBound(to: TapeState.self))
    }
    let tape = registry.withLock { registry in
      if let idle = registry.idle.popLast() { return idle }
      if registry.all.isEmpty {
        // No tape is made meanwhile, so that nothing is recorded on one that was not looked at.
        LayoutTable.setSweeper {
          Tape.registry.withLock { Tape.freeUnnamedLayouts(of: $0.all) }
        }
      }
      let tape = make()
      registry.all.append(tape)
      return tape
    }
    tape.becomeCurrent()
    return tape
  }

  /// Every tape of the process, for questions about a storage.
  static var all: [Tape] { registry.withLock { $0.all } }
}
