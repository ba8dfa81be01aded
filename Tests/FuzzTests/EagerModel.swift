// The naive model that random tensor programs are held against: every operation is carried out at
// once on plain arrays of numbers, and gradients come from a reverse walk over objects. Knows
// nothing of the engine.

import Foundation

/// The floating types, as the model rounds to them.
enum Precision: String, Codable, CaseIterable {
  case double, single, float16, bfloat16
  /// That of a number, which takes the type of what it is combined with.
  case weak

  var isHalf: Bool { self == .float16 || self == .bfloat16 }

  /// The other type of a program that is about this one.
  var other: Precision {
    switch self {
    case .double, .float16, .weak: .single
    case .single: .double
    case .bfloat16: .float16
    }
  }

  /// The type that values of some types have in common.
  static func common(_ types: [Precision]) -> Precision {
    let own = Set(types).subtracting([.weak])
    return own.count == 1 ? own.first! : own.contains(.double) ? .double : .single
  }

  func rounded(_ x: Double) -> Double {
    switch self {
    case .double, .weak: x
    case .single: Double(Float(x))
    // The nearest multiple of the last digit; nothing here is as small as numbers below the normal ones
    // of bfloat16.
    case .float16: Precision.rounded(x, digits: 11, lowest: -14, limit: 65520)
    case .bfloat16: Precision.rounded(x, digits: 8, lowest: -126, limit: 0x1p128)
    }
  }

  private static func rounded(_ x: Double, digits: Int, lowest: Int, limit: Double) -> Double {
    if x == 0 || !x.isFinite { return x }
    if abs(x) >= limit { return x * .infinity }
    let unit = pow(2, Double(Swift.max(Int(x.exponent), lowest) + 1 - digits))
    return (x / unit).rounded(.toNearestOrEven) * unit
  }
}

/// What values share when one is a view of another.
final class Memory {}

/// One value of the model and how it came about.
final class EagerNode {
  let dims: [Int]
  var values: [Double]
  let precision: Precision
  /// Whether it has been rounded to fewer digits than a double has, or computed from what has.
  var isRough = false
  /// Whether gradients flow to and through it.
  var isVariable: Bool
  /// What it was computed from, with a function from its gradient to the parent's.
  var parents: [(node: EagerNode, pullback: ([Double]) -> [Double])]
  let time: Int
  /// When a backward pass cleared the graph here.
  var clearedAt: Int?
  /// Everything that it was computed from with autodiff on, constants too.
  var inputs: [EagerNode] = []
  /// For a view of a view, which is computed from the base: the view that it was made of, whose graph
  /// ends with its own.
  var viewParent: EagerNode?
  /// Whether it was computed with autodiff and guard on.
  var isGuarded = false
  /// Its own memory, or that of what it is a view of.
  private(set) var memory = Memory()
  private var base: EagerNode?
  /// The views of this memory, with the elements that they show.
  private var views: [View] = []
  /// Whether an operation on this value saved another value between the two, so that a later write to
  /// its memory has effects that the model doesn't know.
  var hasHiddenReader = false

  init(
    _ dims: [Int], _ values: [Double], precision: Precision, isVariable: Bool, time: Int,
    parents: [(node: EagerNode, pullback: ([Double]) -> [Double])] = []
  ) {
    self.dims = dims
    self.values = values
    self.precision = precision
    self.isVariable = isVariable
    self.time = time
    self.parents = parents
  }

  /// Makes this node a view of another one.
  func show(_ base: EagerNode, _ map: [Int]) {
    memory = base.memory
    self.base = base
    base.views.append(View(node: self, map: map))
  }

  /// The value whose memory it is.
  var memoryOwner: EagerNode { base ?? self }

  /// Changes elements of the memory; its views see it.
  func write(_ places: [Int], _ new: [Double]) {
    for (place, value) in zip(places, new) { values[place] = value }
    for view in views { view.node?.values = view.map.map { values[$0] } }
  }

  private struct View {
    weak var node: EagerNode?
    let map: [Int]
  }

  /// A new use of a value that nothing was computed for takes it up again after a pass has cleared it.
  func takeUp() {
    if inputs.isEmpty, parents.isEmpty { clearedAt = nil }
  }

  var isComputed: Bool { !inputs.isEmpty && clearedAt == nil }
}

/// A function of one or more numbers with its partial derivatives.
struct ScalarFunction {
  let value: ([Double]) -> Double
  /// The derivative by one argument; is given the arguments and the result.
  let partial: (Int, [Double], Double) -> Double
}

/// Computes at once, each value in its own precision.
final class EagerModel {
  private(set) var time = 0
  var isTracking = true
  var isGuarding = true
  /// The largest magnitude that has occurred: errors are judged against it.
  private(set) var scale = 1.0
  /// Whether a value was not finite.
  private(set) var isBroken = false

  private func rounded(_ values: [Double], _ precision: Precision) -> [Double] {
    let result = values.map(precision.rounded)
    for x in result {
      if x.isFinite { scale = Swift.max(scale, abs(x)) } else { isBroken = true }
    }
    return result
  }

  /// What an operation on `parents` gives, in the type that they are promoted to unless another is given.
  private func make(
    _ dims: [Int], _ values: [Double],
    _ parents: [(node: EagerNode, pullback: ([Double]) -> [Double])], as type: Precision? = nil,
    isMove: Bool = false
  ) -> EagerNode {
    time += 1
    let isVariable = parents.contains { $0.node.isVariable }
    let precision = type ?? .common(parents.map(\.node.precision))
    let node = EagerNode(
      dims, rounded(values, precision), precision: precision, isVariable: isVariable, time: time,
      parents: isTracking ? parents.filter { $0.node.isVariable } : [])
    node.isRough = parents.contains { $0.node.isRough } || (precision != .double && !isMove)
    note(parents.map(\.node), of: node)
    return node
  }

  /// Notes what a node was computed from, for the guard and for the ends of graphs.
  func note(_ inputs: [EagerNode], of node: EagerNode) {
    if !isTracking { return }
    node.inputs = inputs
    node.isGuarded = isGuarding
  }

  func leaf(
    _ dims: [Int], _ values: [Double], precision: Precision, isVariable: Bool
  ) -> EagerNode {
    time += 1
    return EagerNode(
      dims, rounded(values, precision), precision: precision, isVariable: isVariable, time: time)
  }

  /// The same values in another floating type.
  func cast(_ x: EagerNode, to precision: Precision) -> EagerNode {
    if x.precision == precision { return x }
    return make(x.dims, x.values, [(x, { $0 })], as: precision)
  }

  // MARK: Shapes

  static func count(_ dims: [Int]) -> Int { dims.reduce(1, *) }

  static func strides(_ dims: [Int]) -> [Int] {
    var result = [Int](repeating: 1, count: dims.count)
    for axis in dims.indices.dropLast().reversed() {
      result[axis] = result[axis + 1] * dims[axis + 1]
    }
    return result
  }

  /// Every index of a shape in C order.
  static func indices(_ dims: [Int]) -> [[Int]] {
    var result: [[Int]] = [[]]
    for n in dims { result = result.flatMap { head in (0..<n).map { head + [$0] } } }
    return result
  }

  static func broadcast(_ a: [Int], _ b: [Int]) -> [Int]? {
    let rank = Swift.max(a.count, b.count)
    let x = [Int](repeating: 1, count: rank - a.count) + a
    let y = [Int](repeating: 1, count: rank - b.count) + b
    var result: [Int] = []
    for (m, n) in zip(x, y) {
      if m != n, m != 1, n != 1 { return nil }
      result.append(m == 1 ? n : m)
    }
    return result
  }

  /// For every element of `to` the element of `from` that it repeats.
  static func broadcastMap(_ from: [Int], to: [Int]) -> [Int] {
    let lead = to.count - from.count
    let steps = strides(from)
    return indices(to).map { index in
      from.indices.reduce(0) { $0 + (from[$1] == 1 ? 0 : index[lead + $1] * steps[$1]) }
    }
  }

  // MARK: Operations

  /// Picks elements by their numbers: every view, repetition and row selection is one of these.
  func gather(_ x: EagerNode, _ map: [Int], _ dims: [Int]) -> EagerNode {
    let n = x.values.count
    return make(
      dims, map.map { x.values[$0] },
      [
        (
          x,
          { g in
            var result = [Double](repeating: 0, count: n)
            for (k, place) in map.enumerated() { result[place] += g[k] }
            return result
          }
        )
      ], isMove: true)
  }

  /// A gather that shares the memory of what it picks from.
  func view(_ x: EagerNode, _ map: [Int], _ dims: [Int]) -> EagerNode {
    let node = gather(x, map, dims)
    node.show(x, map)
    return node
  }

  /// The base with the elements of a map replaced by values of its type.
  func replaced(_ base: EagerNode, _ map: [Int], by value: EagerNode) -> EagerNode {
    var values = base.values
    for (k, place) in map.enumerated() { values[place] = value.values[k] }
    return make(
      base.dims, values,
      [
        (
          base,
          { g in
            var result = g
            for place in map { result[place] = 0 }
            return result
          }
        ), (value, { g in map.map { g[$0] } }),
      ], isMove: true)
  }

  /// An elementwise function with broadcasting; nil where the shapes don't fit.
  func map(_ operands: [EagerNode], _ f: ScalarFunction) -> EagerNode? {
    var dims = operands[0].dims
    for x in operands {
      guard let both = Self.broadcast(dims, x.dims) else { return nil }
      dims = both
    }
    let maps = operands.map { Self.broadcastMap($0.dims, to: dims) }
    let n = Self.count(dims)
    // Arguments are read when they are needed, so a pullback sees what host writes have left.
    func arguments(_ k: Int) -> [Double] {
      operands.indices.map { operands[$0].values[maps[$0][k]] }
    }
    let result = make(
      dims, (0..<n).map { f.value(arguments($0)) }, [],
      as: .common(operands.map(\.precision)))
    result.isRough = result.isRough || operands.contains { $0.isRough }
    result.isVariable = operands.contains { $0.isVariable }
    note(operands, of: result)
    if !isTracking { return result }
    for (position, operand) in operands.enumerated() where operand.isVariable {
      result.parents.append(
        (
          operand,
          { [unowned result] g in
            var sum = [Double](repeating: 0, count: operand.values.count)
            for k in 0..<n {
              sum[maps[position][k]] += g[k] * f.partial(position, arguments(k), result.values[k])
            }
            return sum
          }
        ))
    }
    return result
  }

  /// For every element the number of the group that it belongs to when `axis` is reduced.
  static func groups(_ dims: [Int], axis: Int?) -> (map: [Int], kept: [Int]) {
    guard let axis else {
      return ([Int](repeating: 0, count: count(dims)), dims.map { _ in 1 })
    }
    var kept = dims
    kept[axis] = 1
    return (broadcastMap(kept, to: dims), kept)
  }

  func sum(_ x: EagerNode, axis: Int?, keepDims: Bool) -> EagerNode {
    let (map, kept) = Self.groups(x.dims, axis: axis)
    var values = [Double](repeating: 0, count: Self.count(kept))
    for (k, group) in map.enumerated() { values[group] += x.values[k] }
    return make(
      Self.reducedDims(x.dims, axis, keepDims), values, [(x, { g in map.map { g[$0] } })])
  }

  func prod(_ x: EagerNode, axis: Int?, keepDims: Bool) -> EagerNode {
    let (map, kept) = Self.groups(x.dims, axis: axis)
    func product(of group: Int, without other: Int?) -> Double {
      map.indices.reduce(1.0) { map[$1] == group && $1 != other ? $0 * x.values[$1] : $0 }
    }
    let values = (0..<Self.count(kept)).map { product(of: $0, without: nil) }
    return make(
      Self.reducedDims(x.dims, axis, keepDims), values,
      [(x, { g in map.enumerated().map { g[$1] * product(of: $1, without: $0) } })])
  }

  func max(_ x: EagerNode, axis: Int?, keepDims: Bool) -> EagerNode {
    let (map, kept) = Self.groups(x.dims, axis: axis)
    let groupCount = Self.count(kept)
    func winners() -> [Int] {
      var best = [Int](repeating: -1, count: groupCount)
      for (k, group) in map.enumerated()
      where best[group] < 0 || x.values[k] > x.values[best[group]] {
        best[group] = k
      }
      return best
    }
    return make(
      Self.reducedDims(x.dims, axis, keepDims), winners().map { x.values[$0] },
      [
        (
          x,
          { g in
            var result = [Double](repeating: 0, count: map.count)
            for (group, k) in winners().enumerated() { result[k] = g[group] }
            return result
          }
        )
      ])
  }

  static func reducedDims(_ dims: [Int], _ axis: Int?, _ keepDims: Bool) -> [Int] {
    if keepDims { return groups(dims, axis: axis).kept }
    guard let axis else { return [] }
    var result = dims
    result.remove(at: axis)
    return result
  }

  /// The product of two matrices.
  func matmul(_ a: EagerNode, _ b: EagerNode) -> EagerNode {
    let (m, k, n) = (a.dims[0], a.dims[1], b.dims[1])
    var values = [Double](repeating: 0, count: m * n)
    for i in 0..<m {
      for j in 0..<n {
        for l in 0..<k { values[i * n + j] += a.values[i * k + l] * b.values[l * n + j] }
      }
    }
    func ofLeft(_ g: [Double]) -> [Double] {
      var result = [Double](repeating: 0, count: m * k)
      for e in result.indices {
        let (i, l) = (e / k, e % k)
        for j in 0..<n { result[e] += g[i * n + j] * b.values[l * n + j] }
      }
      return result
    }
    func ofRight(_ g: [Double]) -> [Double] {
      var result = [Double](repeating: 0, count: k * n)
      for e in result.indices {
        let (l, j) = (e / n, e % n)
        for i in 0..<m { result[e] += a.values[i * k + l] * g[i * n + j] }
      }
      return result
    }
    return make([m, n], values, [(a, ofLeft), (b, ofRight)])
  }

  /// Softmax, or its logarithm, along the last axis.
  func softmax(_ x: EagerNode, logarithm: Bool) -> EagerNode {
    let columns = x.dims.last!
    let rows = x.values.count / columns
    var y = x.values
    for row in 0..<rows {
      let range = (row * columns)..<((row + 1) * columns)
      let top = x.values[range].max()!
      let total = x.values[range].reduce(0) { $0 + exp($1 - top) }
      for k in range {
        y[k] = logarithm ? x.values[k] - top - log(total) : exp(x.values[k] - top) / total
      }
    }
    let p = logarithm ? y.map { exp($0) } : y
    let result = make(
      x.dims, y,
      [
        (
          x,
          { g in
            var result = g
            for row in 0..<rows {
              let range = (row * columns)..<((row + 1) * columns)
              let dot = range.reduce(0) { $0 + (logarithm ? g[$1] : g[$1] * p[$1]) }
              for k in range { result[k] = logarithm ? g[k] - p[k] * dot : p[k] * (g[k] - dot) }
            }
            return result
          }
        )
      ])
    // The pullback has kept the result as it is now.
    result.hasHiddenReader = true
    return result
  }

  // MARK: Gradients

  /// Whether a backward pass would run into a part that an earlier one has cleared.
  func isBlocked(_ head: EagerNode) -> Bool {
    reachable(head).contains { node in
      node.clearedAt == nil
        && node.parents.contains { $0.node.clearedAt.map { $0 >= node.time } ?? false }
    }
  }

  /// Whether gradients of a view don't reach its base: it was made without autodiff, or a backward
  /// pass has cleared it or what it was taken from.
  func isCut(_ view: EagerNode) -> Bool {
    if view.clearedAt != nil || view.parents.isEmpty { return true }
    return view.parents.contains { $0.node.clearedAt.map { $0 >= view.time } ?? false }
  }

  /// The nodes that a gradient of `head` reaches, newest first.
  private func reachable(_ head: EagerNode) -> [EagerNode] {
    var seen: Set<ObjectIdentifier> = [ObjectIdentifier(head)]
    var work = [head]
    var result: [EagerNode] = []
    while let node = work.popLast() {
      result.append(node)
      if node.clearedAt != nil { continue }
      for parent in node.parents where seen.insert(ObjectIdentifier(parent.node)).inserted {
        work.append(parent.node)
      }
    }
    return result.sorted { $0.time > $1.time }
  }

  /// The gradient of the sum of `head` with respect to everything that it depends on.
  func backward(_ head: EagerNode, retainsGraph: Bool) -> [ObjectIdentifier: [Double]] {
    var gradients = [
      ObjectIdentifier(head): [Double](repeating: 1, count: head.values.count)
    ]
    let order = reachable(head)
    for node in order where node.clearedAt == nil {
      guard let g = gradients[ObjectIdentifier(node)] else { continue }
      for parent in node.parents {
        let id = ObjectIdentifier(parent.node)
        let part = rounded(parent.pullback(g), parent.node.precision)
        gradients[id] = gradients[id].map { zip($0, part).map(+) } ?? part
      }
    }
    if !retainsGraph {
      time += 1
      for node in order {
        let inputs = node.inputs
        node.clearedAt = time
        for input in inputs { clearConstants(input) }
        var parent = node.viewParent
        while let view = parent, view.isComputed {
          view.clearedAt = time
          parent = view.viewParent
        }
      }
    }
    return gradients
  }

  /// The end of the graph of a constant that a pass has come by, as far as no variable is reached.
  private func clearConstants(_ node: EagerNode) {
    if node.isVariable || !node.isComputed { return }
    node.clearedAt = time
    for input in node.inputs { clearConstants(input) }
    if let parent = node.viewParent { clearConstants(parent) }
  }

  /// The end of the graph of a node, without a pass.
  func clear(below head: EagerNode) {
    time += 1
    var work = [head]
    while let node = work.popLast() {
      if !node.isComputed { continue }
      node.clearedAt = time
      work += node.inputs
      if let parent = node.viewParent { work.append(parent) }
    }
  }

  // MARK: The memory guard

  /// Whether some guarded operation that the nodes lead to reads or produced a memory.
  func isLocked(_ memory: Memory, by held: [EagerNode]) -> Bool {
    var seen = Set(held.map { ObjectIdentifier($0) })
    var work = held
    while let node = work.popLast() {
      if !node.isComputed { continue }
      if node.isGuarded, (node.inputs + [node]).contains(where: { $0.memory === memory }) {
        return true
      }
      // A view leads to the view that it was made of, as well as to their base.
      let sources = node.inputs + (node.viewParent.map { [$0] } ?? [])
      for source in sources where seen.insert(ObjectIdentifier(source)).inserted {
        work.append(source)
      }
    }
    return false
  }
}
