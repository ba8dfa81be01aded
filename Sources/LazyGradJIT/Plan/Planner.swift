// From a graph to a plan. Passes, each a loop over positions in topological order:
//   1. simplify: equal nodes become one, views and aliases become (source, layout) pairs;
//      batch: small operations of independent parts that are alike become one (Planner+Batch.swift);
//   2. group: nodes are put into loops, greedily and without ever making a cycle;
//   3. place: values that cross loops get memory, by liveness, with in-place reuse;
//   4. lower: each group becomes a kernel.
// A plan is a function of the graph and of what may be batched alone.

/// Plans one graph.
///
/// What is known of the positions stands in plain tables of trivial records, which are never
/// copied: a training step has thousands of positions, and planning it must not take longer than
/// running it.
struct Planner {
  let graph: Graph
  /// Positions of the graph, then those that the planner adds: batches and copies.
  private(set) var entries: UnsafeMutablePointer<Entry>
  /// Operands, three places per position of the graph, then those of added positions.
  private(set) var inputs: UnsafeMutablePointer<Input>
  private(set) var total: Int
  private var capacity: Int
  private var inputTotal: Int
  private var inputCapacity: Int
  /// The positions to compute, in order; none where that is the order of the graph.
  var schedule: [Int32] = []
  /// By position, the terms of a sum of products that is taken as a whole.
  var productSums: [Int32: [Int32]] = [:]
  var groups: [Group] = []
  /// Who reads a group, as linked lists.
  var edges: [Edge] = []
  /// Copies made because a kernel can't read a layout: by source position and layout.
  var copies: [CopyKey: Int] = [:]
  /// Chains of positions that are being placed; nested ones on top of each other.
  var chains: [Int32] = []
  /// Layouts under larger dimensions, by the identities of both.
  var broadcasts: [UInt64: LayoutID] = [:]

  /// What is known of one position.
  struct Entry {
    var node: GraphNode
    /// Elements of the value.
    var count: Int
    /// Where the value comes from: itself, unless it is a view, an alias or a repetition.
    var source: Source
    var group: Int32 = -1
    /// The register in the kernel that is being built.
    var register: Int32 = -1
    /// How many live operands name this position.
    var readers: Int32 = 0
    /// The last group that reads this leaf element by element.
    var lastLoop: Int32 = -1
    /// Position among the members of a loop.
    var rank: Int
    var place = Place(base: -1, byteOffset: 0)
    var kind = ValueKind.full
    /// Where its operands begin, and how many there are.
    var firstInput: Int32
    var inputCount: Int32 = 0
    /// More operands than an operation has: how they become the value.
    var list = ListKind.none
    /// The value is cheap and its place is put off until its reader's is known: the length of the
    /// chain of such values.
    var putOff: UInt8 = 0
    /// The value must be in memory.
    var isStored = false
    /// A root needs it.
    var isLive = false
    /// A product, or a sum of some, that has become part of a longer sum.
    var isAbsorbed = false
  }

  /// Where the value of a position comes from: a position that is computed or given, and, for a
  /// view, how it is laid out over that.
  struct Source {
    var position: Int32
    /// The layout over the source's memory; for non-views the source's own contiguous shape.
    var layout: LayoutID
    var offset: Int
    /// The elements are those of the source in the same order.
    var isLinear: Bool
  }

  /// One operand as its reader sees it.
  struct Input {
    var source: Source
    /// The dimensions under which it is read, and their number of elements.
    var shape: LayoutID
    var count: Int

    var position: Int { Int(source.position) }
  }

  enum ListKind: UInt8 {
    case none
    /// The operands one after the other.
    case stack
    /// Their sum, from the first to the last.
    case sum
    /// A row of a batch that must be in memory of its own; neighbours are one kernel.
    case unstack
  }

  enum ValueKind: UInt8 {
    /// One element per element of the loop's space, in the same order.
    case full
    /// One element per row.
    case perRow
    /// Known only after the group has run.
    case late
  }

  struct CopyKey: Hashable {
    let position: Int32
    let layout: LayoutID
    let offset: Int
  }

  /// What becomes one kernel. A group's number is also its place in the order of execution: a group
  /// reads only groups with smaller numbers.
  struct Group {
    /// `search`: a loop that finds the position of an extreme, and nothing else: it has no machine
    /// code, and what was computed beside it would depend on that.
    enum Kind { case loop, search, move, dead }
    var kind: Kind = .loop
    /// Elements of the loop's space.
    var count: Int
    /// Columns, or 0 while any will do.
    var columns: Int
    var members: [Int32]
    /// Ends of the list of readers, -1 for none.
    var firstEdge: Int32 = -1
    var lastEdge: Int32 = -1
    /// Dead: the group that this one was merged into.
    var into: Int32 = -1
    /// Rows are longer than `rowLimit` and worked off in panels; what they are reduced to is known
    /// after the loop.
    var isPanelled = false
    /// Everything is reduced to one value: such loops have no panels, which would cut it otherwise.
    var hasWholeReduction = false
    /// The members stand in the order in which they can be computed.
    var isSorted = true
    var product: ProductGroup?
  }

  /// One group reads another.
  struct Edge {
    var reader: Int32
    var next: Int32
    /// In the order of the reader's loop, so that the two can become one.
    var isPlain: Bool
  }

  /// The sum of matrix products at the head of a group.
  struct ProductGroup {
    var terms: [Int32]
    /// The value in memory that the terms are added to, -1 for none.
    var start: Int32
    /// The position whose value is the bare sum.
    var sum: Int32
    var totalK: Int
    /// Members that belong to the sum; if the group has no others, the sum is bare.
    var memberCount: Int
    /// Whether the product is a kernel of its own: nothing is fused with it.
    var isAlone = false
    /// Whether the only row of C is computed as a column, its transposed B as the left operand.
    var isTurned = false
  }

  /// Longest row that is worked on at once; what is longer is reduced in one pass of its own.
  static let rowLimit = 8192
  /// Most operations in one kernel.
  static let memberLimit = 256
  /// Longest chain of values whose place is put off; bounds the recursion along it.
  static let putOffLimit = 8
  /// Longest sum of products in one kernel.
  static let productLimit = 512

  private init(_ graph: Graph, mayBatch: Bool) {
    self.graph = graph
    total = graph.nodes.count
    // Only these ask for copies, and of at most three values.
    var copyLimit = 0
    for node in graph.nodes {
      switch node.opcode.info.opClass {
      case .reduction, .matmul, .move, .view: copyLimit += 3
      default: break
      }
    }
    // Batches list their operands anew. To move the tables would take long, and room in large ones that isn't
    // touched takes no memory.
    capacity = total + copyLimit + (mayBatch ? total / 2 : 0)
    inputTotal = 3 * total
    inputCapacity = inputTotal + copyLimit + (mayBatch ? 2 * total : 0)
    entries = .allocate(capacity: max(capacity, 1))
    inputs = .allocate(capacity: max(inputCapacity, 1))
    for (i, node) in graph.nodes.enumerated() {
      (entries + i).initialize(
        to: Entry(
          node: node, count: LayoutTable.shared[node.shape].count,
          source: Source(position: Int32(i), layout: node.shape, offset: 0, isLinear: true),
          rank: 2 * i, firstInput: Int32(3 * i)))
    }
  }

  static func plan(_ graph: Graph, batching: BatchLimits) -> Plan {
    var planner = Planner(
      graph, mayBatch: batching.members > 0 && graph.nodes.count >= batching.operations)
    defer {
      planner.entries.deallocate()
      planner.inputs.deallocate()
    }
    planner.simplify()
    planner.batch(batching)
    planner.group()
    return planner.lower()
  }

  @inline(__always)
  func layout(_ id: LayoutID) -> Layout { LayoutTable.shared[id] }

  /// Operand `k` of a position.
  @inline(__always)
  func input(_ i: Int, _ k: Int) -> Input { inputs[Int(entries[i].firstInput) + k] }

  @inline(__always)
  func setInput(_ i: Int, _ k: Int, _ input: Input) {
    inputs[Int(entries[i].firstInput) + k] = input
  }

  @inline(__always)
  func inputCount(_ i: Int) -> Int { Int(entries[i].inputCount) }

  /// Adds a copy in C order; it is computed right after its source.
  mutating func appendCopy(of source: Source, shape: LayoutID) -> Int {
    precondition(total < capacity)
    let origin = entries[Int(source.position)]
    let position = append(
      GraphNode(.copy, origin.node.type, shape: shape), inputs: 1, rank: origin.rank | 1)
    setInput(position, 0, Input(source: source, shape: shape, count: entries[position].count))
    return position
  }

  /// Adds a position with operands, which are for the caller to set.
  mutating func append(_ node: GraphNode, inputs count: Int, rank: Int) -> Int {
    if total == capacity { reserve(entries: max(2 * capacity, 64)) }
    let position = total
    total += 1
    var entry = Entry(
      node: node, count: layout(node.shape).count,
      source: Source(position: Int32(position), layout: node.shape, offset: 0, isLinear: true),
      rank: rank, firstInput: 0)
    entry.isLive = true
    (entries + position).initialize(to: entry)
    makeInputs(position, count)
    return position
  }

  /// Gives a position room for so many operands.
  mutating func makeInputs(_ i: Int, _ count: Int) {
    if inputTotal + count > inputCapacity { reserve(inputs: 2 * inputCapacity + count) }
    entries[i].firstInput = Int32(inputTotal)
    entries[i].inputCount = Int32(count)
    inputTotal += count
  }

  /// Makes room for the copies that so many positions may ask for: nothing moves from here on.
  mutating func reserveCopies(of positions: Int) {
    reserve(entries: total + 3 * positions)
    reserve(inputs: inputTotal + 3 * positions)
  }

  private mutating func reserve(entries wanted: Int) {
    Self.grow(&entries, &capacity, total, to: wanted)
  }

  private mutating func reserve(inputs wanted: Int) {
    Self.grow(&inputs, &inputCapacity, inputTotal, to: wanted)
  }

  private static func grow<T>(
    _ items: inout UnsafeMutablePointer<T>, _ capacity: inout Int, _ count: Int, to wanted: Int
  ) {
    if wanted <= capacity { return }
    let larger = UnsafeMutablePointer<T>.allocate(capacity: wanted)
    larger.moveInitialize(from: items, count: count)
    items.deallocate()
    (items, capacity) = (larger, wanted)
  }

  /// The identity of a layout shown under the dimensions of another.
  mutating func broadcast(_ id: LayoutID, to target: LayoutID) -> LayoutID {
    if id == target { return id }
    let key = UInt64(id) << 32 | UInt64(target)
    if let known = broadcasts[key] { return known }
    let dims = layout(target).dims
    let result = LayoutTable.shared.intern(
      dims: dims, strides: layout(id).broadcastStrides(to: dims)!)
    broadcasts[key] = result
    return result
  }
}
