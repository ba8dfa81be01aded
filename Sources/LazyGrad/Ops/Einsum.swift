// Einstein summation: what the subscripts say, in which order the operands are multiplied, and the products
// themselves, which are matrix products, products of elements, sums and views.

internal import LazyGradJIT

/// Sums of products by Einstein's convention, as NumPy's `einsum`.
///
///     einsum("ij,jk->ik", a, b)       // the matrix product
///     einsum("ij,jk", a, b)           // the same: labels that are named once, in alphabetical order
///     einsum("ii->i", a)              // the diagonal, as a view
///     einsum("...ij,...jk", a, b)     // products of matrices, the axes before them broadcast
///     einsum("a,ab,b", x, m, y)       // a bilinear form
///
/// - Parameters:
///   - subscripts: For every operand a letter for each axis, in lower or upper case; `...` stands for any
///     number of axes, which are aligned from the right and broadcast. Axes with the same letter are
///     multiplied element by element, and summed where the letter is not behind the arrow. A letter that
///     one operand names twice takes its diagonal. Without an arrow the result has the axes of the
///     ellipses and of letters that are named once in all, in the order of ASCII.
///   - operands: As many as there are groups of letters between commas. Axes with one letter have one
///     length, or length 1, which is repeated.
/// - Returns: The sums, in the operands' common type, integers and bools in their own; of one operand
///   without a sum a view, as in NumPy.
///
/// Of more than two operands two at a time are multiplied, in the order that takes the fewest
/// multiplications for up to six of them, in one that takes the fewest at each step for more. Each such
/// product is a matrix product where it has the form of one. Gradients of any order are products of the
/// same kind.
/// - Complexity: records a few nodes per operand.
public func einsum(_ subscripts: String, _ operands: Tensor...) -> Tensor {
  einsum(subscripts, operands)
}

/// Sums of products by Einstein's convention, of a list of tensors.
public func einsum(_ subscripts: String, _ operands: [Tensor]) -> Tensor {
  einsum(operands, text: subscripts) { () throws(TensorError) in
    try Subscripts(parsing: subscripts, ranks: operands.map(\.rank))
  }
}

/// Sums of products by Einstein's convention, with numbers as labels: MyGrad's and NumPy's other form.
///
///     einsum([(a, [0, 1]), (b, [1, 2])], output: [0, 2])
///
/// - Parameters:
///   - operands: Tensors, each with a label of 0 or more for every axis.
///   - output: The labels of the result; nil: those that are named once, in order.
public func einsum(_ operands: [(Tensor, [Int])], output: [Int]? = nil) -> Tensor {
  einsum(operands.map(\.0)) { () throws(TensorError) in
    try Subscripts(inputs: operands.map(\.1), output: output, ranks: operands.map(\.0.rank))
  }
}

/// - Parameter text: What the steps are remembered by, if they are.
private func einsum(
  _ operands: [Tensor], text: String? = nil, _ subscripts: () throws(TensorError) -> Subscripts
) -> Tensor {
  // One operand may be shown as a view.
  let key =
    operands.count > 1 ? text.flatMap { ContractionMemo.Contraction($0, operands) } : nil
  if let key, let steps = ContractionMemo.shared.steps(key) {
    return Tensor.inFloat32(operands) { ContractionWork($0).run(steps) }
  }
  if let poison = operands.lazy.compactMap({ poisoned($0) }).first { return poison }
  do throws(TensorError) {
    let subscripts = try subscripts()
    try subscripts.check(operands.map(\.shape))
    if operands.count == 1 { return contracted(operands[0], subscripts) }
    return Tensor.inFloat32(operands) { contracted($0, subscripts, key) }
  } catch { return fail(error, operands) }
}

/// What checked subscripts ask for of one operand.
private func contracted(_ operand: Tensor, _ subscripts: Subscripts) -> Tensor {
  let output = subscripts.output
  let work = ContractionWork([operand])
  var term = ContractionTerm(work, 0, subscripts.inputs[0])
  term.takeDiagonals()
  if term.labels.contains(where: { !output.contains($0) }) { operand.use() }
  term.sum(keeping: output.contains)
  let result = work.result(term.arranged(output))
  return result === operand ? result.reshaped(result.shape) : result
}

/// The sums of products that checked subscripts ask for, of several operands.
private func contracted(
  _ operands: [Tensor], _ subscripts: Subscripts, _ key: ContractionMemo.Contraction?
) -> Tensor {
  let output = subscripts.output
  let work = ContractionWork(operands)
  var terms = subscripts.inputs.enumerated().map { ContractionTerm(work, $0, $1) }
  for i in terms.indices { terms[i].takeDiagonals() }
  for operand in operands { operand.use() }
  var order = ContractionOrder(terms, output)
  while terms.count > 1 {
    let (i, j) = order.next()
    let (first, second) = (terms[i], terms.remove(at: j))
    terms.remove(at: i)
    let kept =
      terms.isEmpty
      ? output
      : (first.labels + second.labels.filter { !first.has($0) }).filter { label in
        output.contains(label) || terms.contains { $0.has(label) }
      }
    terms.append(ContractionTerm.product(first, second, keeping: kept))
  }
  let last = terms[0].arranged(output)
  if let key, poisoned(work.tensors[last]) == nil {
    ContractionMemo.shared.remember(key, work.steps)
  }
  return work.result(last)
}

// MARK: - Order

/// In which order the operands are multiplied. Terms are numbered as they lie in the list: the two that
/// are next are taken out, and their product is put at the end.
private struct ContractionOrder {
  private var pairs: [(Int, Int)]

  /// The most operands for which all orders are compared: three to that power are.
  private static let mostCompared = 6

  init(_ terms: [ContractionTerm], _ output: [Int]) {
    if terms.count == 2 {
      pairs = [(0, 1)]
      return
    }
    // Labels as bits, of which there are no more than a tensor has axes; and their lengths.
    var numbers: [Int: Int] = [:]
    var lengths: [Double] = []
    var sets: [UInt64] = []
    for term in terms {
      var set: UInt64 = 0
      for label in term.labels {
        if numbers[label] == nil {
          numbers[label] = lengths.count
          lengths.append(1)
        }
        let number = numbers[label]!
        lengths[number] = max(lengths[number], Double(term.length(label)))
        set |= 1 << number
      }
      sets.append(set)
    }
    let kept = output.reduce(UInt64(0)) { $0 | 1 << numbers[$1]! }
    func size(_ set: UInt64) -> Double {
      lengths.indices.reduce(1) { set >> $1 & 1 == 1 ? $0 * lengths[$1] : $0 }
    }
    pairs =
      terms.count <= Self.mostCompared
      ? Self.cheapest(sets, kept, size) : Self.greedy(sets, kept, size)
  }

  mutating func next() -> (Int, Int) { pairs.removeFirst() }

  /// The cheapest of all orders: for every set of operands that of its two parts that costs least.
  private static func cheapest(
    _ sets: [UInt64], _ kept: UInt64, _ size: (UInt64) -> Double
  ) -> [(Int, Int)] {
    let all = (1 << sets.count) - 1
    func union(_ members: Int) -> UInt64 {
      sets.indices.reduce(0) { members >> $1 & 1 == 1 ? $0 | sets[$1] : $0 }
    }
    // What is left of each set of operands once it is multiplied.
    let left = (0...all).map { union($0) & (kept | union(all & ~$0)) }
    var cost = [Double](repeating: .infinity, count: all + 1)
    var part = [Int](repeating: 0, count: all + 1)
    for members in 1...all {
      if members & (members - 1) == 0 {
        cost[members] = 0
        continue
      }
      var first = (members - 1) & members
      while first > 0 {
        let second = members & ~first
        // Each pair once.
        if first > second {
          let total = cost[first] + cost[second] + size(left[first] | left[second])
          if total < cost[members] { (cost[members], part[members]) = (total, first) }
        }
        first = (first - 1) & members
      }
    }
    var places = sets.indices.map { 1 << $0 }
    var pairs: [(Int, Int)] = []
    func multiply(_ members: Int) {
      if members & (members - 1) == 0 { return }
      let (first, second) = (part[members], members & ~part[members])
      multiply(first)
      multiply(second)
      pairs.append(Self.take(first, second, &places) { $0 | $1 })
    }
    multiply(all)
    return pairs
  }

  /// An order that takes the pair with the smallest product each time, less what it replaces.
  private static func greedy(
    _ sets: [UInt64], _ kept: UInt64, _ size: (UInt64) -> Double
  ) -> [(Int, Int)] {
    var sets = sets
    var pairs: [(Int, Int)] = []
    while sets.count > 1 {
      var best = (growth: Double.infinity, i: 0, j: 1, product: UInt64(0))
      for i in sets.indices {
        for j in (i + 1)..<max(sets.count, i + 1) {
          let others = sets.indices.reduce(kept) {
            $1 == i || $1 == j ? $0 : $0 | sets[$1]
          }
          let product = (sets[i] | sets[j]) & others
          let growth = size(product) - size(sets[i]) - size(sets[j])
          if growth < best.growth { best = (growth, i, j, product) }
        }
      }
      pairs.append((best.i, best.j))
      sets.remove(at: best.j)
      sets.remove(at: best.i)
      sets.append(best.product)
    }
    return pairs
  }

  private static func take(
    _ first: Int, _ second: Int, _ places: inout [Int], _ join: (Int, Int) -> Int
  ) -> (Int, Int) {
    let (i, j) = (places.firstIndex(of: first)!, places.firstIndex(of: second)!)
    places.remove(at: max(i, j))
    places.remove(at: min(i, j))
    places.append(join(first, second))
    return (min(i, j), max(i, j))
  }
}
