// The product of two tensors whose axes have labels, which tensor products and `einsum` are made of: as
// a matrix product of views where it is one, else as a product of elements and a sum.

internal import LazyGradJIT

/// A tensor with a label for each axis, none of them twice.
struct ContractionTerm {
  private let work: ContractionWork
  /// Which of the work's tensors it is.
  private(set) var number: Int
  private(set) var labels: [Int]

  var tensor: Tensor { work.tensors[number] }

  init(_ work: ContractionWork, _ number: Int, _ labels: [Int]) {
    self.work = work
    self.number = number
    self.labels = labels
  }

  func has(_ label: Int) -> Bool { labels.contains(label) }

  /// The length of an axis that is there.
  func length(_ label: Int) -> Int { tensor.shape[labels.firstIndex(of: label)!] }

  private func lengths(_ labels: [Int]) -> [Int] { labels.map { length($0) } }

  // MARK: One tensor

  /// Of axes with the same label only the diagonal stays. Their lengths are equal.
  mutating func takeDiagonals() {
    var i = 0
    while i < labels.count {
      if let j = labels[(i + 1)...].firstIndex(of: labels[i]) {
        let label = labels[i]
        number = work.take(.diagonal(number, i, j))
        labels.remove(at: j)
        labels.remove(at: i)
        labels.append(label)
      } else {
        i += 1
      }
    }
  }

  /// Sums over the axes whose labels are not among `kept`, in the tensor's own type.
  mutating func sum(keeping kept: (Int) -> Bool) {
    let axes = labels.indices.filter { !kept(labels[$0]) }
    if axes.isEmpty { return }
    number = work.take(.sum(number, axes))
    labels = labels.filter(kept)
  }

  /// Drops axes of length 1 that the other tensor has with another length: there the element is repeated.
  private mutating func dropRepeated(beside other: Self) {
    for label in labels where length(label) == 1 && other.has(label) && other.length(label) != 1 {
      let axis = labels.firstIndex(of: label)!
      number = work.take(.squeezed(number, axis))
      labels.remove(at: axis)
    }
  }

  /// The tensor with its axes in the order of these labels, which are all that it has.
  func arranged(_ order: [Int]) -> Int {
    order == labels
      ? number : work.take(.transposed(number, order.map { labels.firstIndex(of: $0)! }))
  }

  /// The same with an axis of length 1 for each label that it does not have.
  private func spread(_ order: [Int]) -> Int {
    work.shaped(arranged(order.filter(has)), order.map { has($0) ? length($0) : 1 })
  }

  // MARK: Two tensors

  /// The product over axes with equal labels, summed over those that are not among `kept`.
  ///
  /// 1. An axis of length 1 is dropped where the other tensor's is longer.
  /// 2. Axes that only one of them has, and that don't stay, are summed first.
  /// 3. Axes that both have and that don't stay make it a matrix product, where one of them has an axis
  ///    of its own: of the tensors as matrices in batches, which takes no copy where the axes of a group
  ///    lie one behind the other in memory.
  /// 4. The rest are products of elements, and a sum of them, which is one loop.
  ///
  /// - Parameter kept: The labels that stay, in the order in which they are wanted: that of the result
  ///   comes close to it.
  static func product(_ a: Self, _ b: Self, keeping kept: [Int]) -> Self {
    var (x, y) = (a, b)
    x.dropRepeated(beside: y)
    y.dropRepeated(beside: x)
    x.sum { y.has($0) || kept.contains($0) }
    y.sum { x.has($0) || kept.contains($0) }
    let shared = x.labels.filter(y.has)
    let summed = shared.filter { !kept.contains($0) }
    let batch = kept.filter(shared.contains)
    let hasOwn = x.labels.count + y.labels.count > 2 * shared.count
    if summed.isEmpty || (!hasOwn && !batch.isEmpty) {
      let order = kept.filter { x.has($0) || y.has($0) }
      let work = x.work
      let product = work.take(.multiplied(x.spread(order + summed), y.spread(order + summed)))
      let axes = Array(order.count..<(order.count + summed.count))
      return Self(work, axes.isEmpty ? product : work.take(.sum(product, axes)), order)
    }
    // The rows of the result are those axes that come first.
    let first = kept.first { !shared.contains($0) && (x.has($0) || y.has($0)) }
    if let first, y.has(first) { swap(&x, &y) }
    return x.matrixProduct(y, batch: batch, summed: summed)
  }

  private func matrixProduct(_ other: Self, batch: [Int], summed: [Int]) -> Self {
    let rows = inMemoryOrder(labels.filter { !other.has($0) })
    let columns = other.inMemoryOrder(other.labels.filter { !has($0) })
    // Either order of what is summed will do, if it is the same for both.
    let (own, others) = (inMemoryOrder(summed), other.inMemoryOrder(summed))
    let takesOwn =
      own == others || other.canMerge(own)
      || (!canMerge(others) && tensor.count >= other.tensor.count)
    let inner = takesOwn ? own : others
    let depth = lengths(inner).reduce(1, *)
    let height = lengths(rows).reduce(1, *)
    let width = other.lengths(columns).reduce(1, *)
    let batchDims = lengths(batch)
    // Without a batch one row or column is a vector.
    let left = rows.isEmpty && batch.isEmpty ? [depth] : batchDims + [height, depth]
    let right = columns.isEmpty && batch.isEmpty ? [depth] : batchDims + [depth, width]
    let product = work.take(
      .matmul(
        work.shaped(arranged(batch + rows + inner), left),
        work.shaped(other.arranged(batch + inner + columns), right)))
    return Self(
      work, work.shaped(product, batchDims + lengths(rows) + other.lengths(columns)),
      batch + rows + columns)
  }

  /// Labels by how far their axes step through memory, farthest first.
  private func inMemoryOrder(_ labels: [Int]) -> [Int] {
    if labels.count < 2 { return labels }
    let strides = tensor.ownLayout.layout.strides
    let steps = labels.map { Swift.abs(strides[self.labels.firstIndex(of: $0)!]) }
    return labels.indices.sorted { (steps[$0], $1) > (steps[$1], $0) }.map { labels[$0] }
  }

  /// Whether axes in an order are one axis without a copy.
  private func canMerge(_ labels: [Int]) -> Bool {
    let layout = tensor.ownLayout.layout
    let axes = labels.map { self.labels.firstIndex(of: $0)! }.filter { layout.dims[$0] != 1 }
    return zip(axes, axes.dropFirst()).allSatisfy {
      layout.strides[$0] == layout.strides[$1] * layout.dims[$1]
    }
  }
}
