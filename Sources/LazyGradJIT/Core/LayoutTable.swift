// Interned shapes and strides. A shape or a view is one `UInt32` everywhere else, so the
// equal-shape test of an operation is one integer comparison. Uses nothing else of the engine.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif
import Synchronization

/// The identity of an interned layout: dimensions and strides, without an offset.
public typealias LayoutID = UInt32

/// The process-wide table of layouts.
///
/// Readers index stable memory without a lock; only interning a layout takes one. A layout that nothing
/// names any more is found by a sweep, once `limit` more of them have come up than the last sweep left,
/// and its identity is given to another one. Until then an identity may be named by
///
///     a record or a handle of a tape     found by who sweeps, who has all tapes to himself
///     an array                           has a reference to the layout, which counts
///     a caller who has just got it       the last `recentCount` that each thread has asked for stay
///     what remembers something by it     forgets all when `generation` changes
///
/// A plan names layouts too: there is no sweep while one is being made or runs.
public final class LayoutTable: Sendable {
  package static let shared = LayoutTable()

  /// The largest rank; NumPy's limit as well.
  package static let maxRank = 64
  /// The limit of elements of a computed value: more than any machine has memory for, but sizes in
  /// bytes, and sums of thousands of them, stay far from overflow.
  package static let maxCount = 1 << 48
  private static let chunkBits = 12
  private static let chunkCount = 4096
  /// No operation has more identities in hand that nothing else names.
  private static let recentCount = 256

  private struct Key: Hashable {
    let dims: [Int]
    let strides: [Int]
  }
  private struct State {
    var ids: [Key: LayoutID] = [:]
    /// Identities that have been given out, those that are free again among them.
    var count: UInt32 = 0
    var free: [LayoutID] = []
    /// What the threads have asked for lately, and the lists of threads that have ended.
    var recent: [UnsafeMutablePointer<Recent>] = []
    var idleRecent: [UnsafeMutablePointer<Recent>] = []
    /// Nothing is freed any more.
    var keepsAll = false
    /// The number of layouts from which on a sweep is due.
    var due = LayoutTable.limit

    var used: Int { Int(count) - free.count }
  }

  /// The identities that a thread has asked for lately, in a ring.
  private struct Recent {
    let ids: UnsafeMutablePointer<LayoutID>
    var next = 0
  }

  private let state = Lock(State())
  /// Chunks of references that the table owns; each chunk is published before an id in it is handed out.
  private nonisolated(unsafe) let chunks:
    UnsafeMutablePointer<UnsafeMutablePointer<Unmanaged<Layout>?>?>
  /// The few facts that the record path needs, for readers that must not pay for a reference to the
  /// object.
  @usableFromInline
  struct Facts: ~Copyable {
    @usableFromInline let count: Int
    @usableFromInline let rank: Int
    @usableFromInline let shape: LayoutID
    /// The layout with the last two axes swapped, id + 1; 0 while nobody has asked.
    let swapped = Atomic<UInt32>(0)

    init(count: Int, rank: Int, shape: LayoutID) {
      self.count = count
      self.rank = rank
      self.shape = shape
    }
  }
  private nonisolated(unsafe) static let facts: UnsafeMutablePointer<UnsafeMutablePointer<Facts>?> =
    {
      let chunks = UnsafeMutablePointer<UnsafeMutablePointer<Facts>?>.allocate(capacity: chunkCount)
      chunks.initialize(repeating: nil, count: chunkCount)
      return chunks
    }()

  private init() {
    chunks = .allocate(capacity: Self.chunkCount)
    chunks.initialize(repeating: nil, count: Self.chunkCount)
    state.withLock { _ = append(Key(dims: [], strides: []), count: 1, shapeID: nil, &$0) }
  }

  /// The scalar shape has the identity 0.
  @inlinable public static var scalar: LayoutID { 0 }

  /// The layout of an identity that this table gave out.
  @inline(__always)
  package subscript(id: LayoutID) -> Layout {
    chunks[Int(id >> 12)].unsafelyUnwrapped[Int(id & 4095)].unsafelyUnwrapped
      ._withUnsafeGuaranteedRef { $0 }
  }

  /// The layouts and the facts by chunk, for whoever keeps the address: a global is asked for through a
  /// call.
  static var layoutChunks: UnsafeMutablePointer<UnsafeMutablePointer<Unmanaged<Layout>?>?> {
    shared.chunks
  }
  static var factChunks: UnsafeMutablePointer<UnsafeMutablePointer<Facts>?> { facts }

  private static func facts(_ id: LayoutID) -> UnsafeMutablePointer<Facts> {
    facts[Int(id >> 12)].unsafelyUnwrapped + Int(id & 4095)
  }

  private func reference(_ id: LayoutID) -> UnsafeMutablePointer<Unmanaged<Layout>?> {
    chunks[Int(id >> 12)].unsafelyUnwrapped + Int(id & 4095)
  }

  // MARK: Asking

  /// A layout with its last two axes swapped; remembered in its facts, because every matrix product
  /// asks for it in its backward pass.
  static func matrixTransposed(_ id: LayoutID) -> LayoutID {
    let layout = shared[id]
    var dims = layout.dims
    var strides = layout.strides
    dims.swapAt(dims.count - 2, dims.count - 1)
    strides.swapAt(dims.count - 2, dims.count - 1)
    let swapped = shared.intern(dims: dims, strides: strides)
    facts(id).pointee.swapped.store(swapped + 1, ordering: .relaxed)
    return swapped
  }

  /// Whether a value of a shape can be computed at all.
  ///
  /// Of a shape without elements the other axes count as well: a sum over the axis of length 0 has their
  /// shape.
  package static func isComputable(_ dims: [Int]) -> Bool {
    elementCount(dims.map { max($0, 1) }).map { $0 <= maxCount } ?? false
  }

  /// The number of elements of a shape; nil where it overflows, that with 1 for each length of 0 as well.
  package static func elementCount(_ dims: [Int]) -> Int? {
    var step = 1
    var isEmpty = false
    for length in dims {
      if length == 0 { isEmpty = true }
      let (next, overflow) = step.multipliedReportingOverflow(by: max(length, 1))
      if overflow { return nil }
      step = next
    }
    return isEmpty ? 0 : step
  }

  /// C-order strides of `dims`; nil where the element count overflows.
  package static func contiguousStrides(_ dims: [Int]) -> (strides: [Int], count: Int)? {
    var strides = [Int](repeating: 0, count: dims.count)
    var step = 1
    var isEmpty = false
    for axis in dims.indices.reversed() {
      strides[axis] = step
      if dims[axis] == 0 { isEmpty = true }
      let (next, overflow) = step.multipliedReportingOverflow(by: max(dims[axis], 1))
      if overflow { return nil }
      step = next
    }
    return (strides, isEmpty ? 0 : step)
  }

  /// The identity of a shape. The element count must not overflow.
  package func intern(dims: [Int]) -> LayoutID {
    let (strides, count) = Self.contiguousStrides(dims).unsafelyUnwrapped
    return identity(Key(dims: dims, strides: strides), strides, count)
  }

  /// The identity of a strided layout.
  ///
  /// Strides of axes of length 1 say nothing about memory, so they are put into C order first:
  /// equal index maps get equal identities where that costs nothing.
  package func intern(dims: [Int], strides given: [Int]) -> LayoutID {
    let (natural, count) = Self.contiguousStrides(dims).unsafelyUnwrapped
    var strides = given
    for axis in dims.indices where dims[axis] == 1 || count == 0 { strides[axis] = natural[axis] }
    return identity(Key(dims: dims, strides: strides), natural, count)
  }

  private func identity(_ key: Key, _ natural: [Int], _ count: Int) -> LayoutID {
    let (id, isDue) = state.withLock { state in
      let id = find(key, natural, count, &state)
      Self.note(id, &state)
      return (id, state.used >= state.due && !state.keepsAll)
    }
    if isDue { Self.sweep() }
    return id
  }

  private func find(
    _ key: Key, _ natural: [Int], _ count: Int, _ state: inout State
  ) -> LayoutID {
    if let id = state.ids[key] { return id }
    if key.strides == natural { return append(key, count: count, shapeID: nil, &state) }
    let shape = Key(dims: key.dims, strides: natural)
    let shapeID = state.ids[shape] ?? append(shape, count: count, shapeID: nil, &state)
    return append(key, count: count, shapeID: shapeID, &state)
  }

  /// A new layout; one in C order has no other shape.
  private func append(
    _ key: Key, count: Int, shapeID: LayoutID?, _ state: inout State
  ) -> LayoutID {
    let id = state.free.popLast() ?? state.count
    if Int(id) >= Self.chunkCount << Self.chunkBits {
      fatalError("LazyGrad: more than 16 million distinct shapes and strides in use in one process")
    }
    let layout = Layout(
      id: id, dims: key.dims, strides: key.strides, count: count, shapeID: shapeID ?? id,
      contiguous: shapeID == nil)
    let chunk = Int(id >> 12)
    if chunks[chunk] == nil {
      chunks[chunk] = .allocate(capacity: 1 << Self.chunkBits)
      Self.facts[chunk] = .allocate(capacity: 1 << Self.chunkBits)
    }
    Self.facts(id).initialize(
      to: Facts(count: count, rank: key.dims.count, shape: layout.shapeID))
    reference(id).initialize(to: Unmanaged.passRetained(layout))
    state.ids[key] = id
    if id == state.count { state.count += 1 }
    return id
  }

  // MARK: Who was given an identity

  /// Notes that the calling thread is given an identity from what a tape remembers. The caller holds the
  /// tape's lock, so no sweep comes before.
  func handOut(_ id: LayoutID) { state.withLock { Self.note(id, &$0) } }

  private static let recentKey: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key) { raw in
      #if canImport(Darwin)
        let recent = raw.assumingMemoryBound(to: Recent.self)
      #else
        let recent = raw!.assumingMemoryBound(to: Recent.self)
      #endif
      LayoutTable.shared.state.withLock { $0.idleRecent.append(recent) }
    }
    return key
  }()

  /// Notes that the calling thread has been given an identity.
  private static func note(_ id: LayoutID, _ state: inout State) {
    let recent =
      pthread_getspecific(recentKey)?.assumingMemoryBound(to: Recent.self) ?? newRecent(&state)
    recent.pointee.ids[recent.pointee.next] = id
    recent.pointee.next = (recent.pointee.next + 1) % recentCount
  }

  private static func newRecent(_ state: inout State) -> UnsafeMutablePointer<Recent> {
    let recent = state.idleRecent.popLast() ?? UnsafeMutablePointer.allocate(capacity: 1)
    if !state.recent.contains(recent) {
      let ids = UnsafeMutablePointer<LayoutID>.allocate(capacity: recentCount)
      ids.initialize(repeating: scalar, count: recentCount)
      recent.initialize(to: Recent(ids: ids))
      state.recent.append(recent)
    }
    pthread_setspecific(recentKey, recent)
    return recent
  }

  // MARK: Sweeping

  /// How many more layouts there may be than the last sweep left before there is another one.
  package static var limit: Int {
    get { limitValue.load(ordering: .relaxed) }
    set {
      limitValue.store(max(1, newValue), ordering: .relaxed)
      shared.state.withLock { $0.due = $0.used + limit }
    }
  }
  private static let limitValue = Atomic<Int>(Settings.layouts)

  /// Changes when identities become free, after which they may be given to other layouts: whoever
  /// remembers something by them looks here first.
  package static var generation: UInt32 { generationValue.load(ordering: .acquiring) }
  private static let generationValue = Atomic<UInt32>(0)

  /// Ends sweeping: layouts will be named where no sweep looks.
  package static func keepAll() { shared.state.withLock { $0.keepsAll = true } }

  /// The layouts that there are.
  package var count: Int { state.withLock { $0.used } }

  /// Where the tapes are known: calls `freeUnnamed` if it can have all of them to itself now, and says
  /// whether it could. The caller may hold any of their locks.
  static func setSweeper(_ sweeper: @escaping @Sendable () -> Bool) {
    shared.sweeper.withLock { $0 = Sweeper(run: sweeper) }
  }
  /// Not a bare function: a generic that passes one through wraps it once more each time.
  private struct Sweeper {
    let run: @Sendable () -> Bool
  }
  private let sweeper = Lock<Sweeper?>(nil)

  /// Sweeps where that was put off. The caller holds no lock of a tape.
  @inline(__always)
  static func sweepIfDue() { if wasPutOff.load(ordering: .relaxed) { sweep() } }
  private static let wasPutOff = Atomic<Bool>(false)

  @inline(never)
  private static func sweep() {
    let isDone = shared.sweeper.withLock { $0 }?.run() ?? false
    wasPutOff.store(!isDone, ordering: .relaxed)
    shared.state.withLock { $0.due = $0.used + (isDone ? limit : max(1, limit / 64)) }
  }

  /// Identities that something names.
  struct Marks: ~Copyable {
    fileprivate let isNamed: UnsafeMutableBufferPointer<Bool>

    fileprivate init(count: Int) {
      isNamed = .allocate(capacity: count)
      isNamed.initialize(repeating: false)
    }
    deinit { isNamed.deallocate() }

    /// Notes what may be an identity; all numbers are allowed.
    @inline(__always)
    func mark(_ id: LayoutID) {
      if Int(id) < isNamed.count { isNamed[Int(id)] = true }
    }
  }

  /// Frees all layouts that nothing names.
  ///
  /// - Parameter mark: Marks those that the tapes name, which don't change meanwhile.
  func freeUnnamed(_ mark: (borrowing Marks) -> Void) {
    state.withLock { state in
      if state.keepsAll { return }
      let marks = Marks(count: Int(state.count))
      marks.mark(Self.scalar)
      mark(marks)
      for recent in state.recent {
        for i in 0..<Self.recentCount { marks.mark(recent.pointee.ids[i]) }
      }
      for id in 0..<state.count where isReferenced(id) { marks.mark(id) }
      for id in 0..<state.count where marks.isNamed[Int(id)] {
        marks.mark(Self.facts(id).pointee.shape)
      }
      let before = state.free.count
      for id in 1..<state.count where !marks.isNamed[Int(id)] { free(id, &state) }
      if state.free.count == before { return }
      for id in 0..<state.count where reference(id).pointee != nil {
        let swapped = Self.facts(id).pointee.swapped.load(ordering: .relaxed)
        if swapped != 0, reference(swapped - 1).pointee == nil {
          Self.facts(id).pointee.swapped.store(0, ordering: .relaxed)
        }
      }
      Self.generationValue.add(1, ordering: .releasing)
    }
  }

  /// Whether somebody else has a reference to a layout.
  private func isReferenced(_ id: LayoutID) -> Bool {
    let reference = reference(id)
    if reference.pointee == nil { return false }
    return !isKnownUniquelyReferenced(
      &UnsafeMutableRawPointer(reference).assumingMemoryBound(to: Layout.self).pointee)
  }

  private func free(_ id: LayoutID, _ state: inout State) {
    let reference = reference(id)
    guard let unmanaged = reference.pointee else { return }
    let layout = unmanaged.takeRetainedValue()
    reference.pointee = nil
    state.ids[Key(dims: layout.dims, strides: layout.strides)] = nil
    state.free.append(id)
  }
}
