// Custom operations on a sample, recorded for a batch: their rule is then that of a sample for every sample.

internal import LazyGradJIT

extension CustomRule {
  /// The record that carries the rule of such an operation for the batch. The tape is locked.
  ///
  /// - Parameter areBatched: For each operand whether every sample has its own.
  static func batchedCarrier(_ tape: Tape, _ n: UInt32, areBatched: [Bool]) -> UInt32 {
    let carrier = Storage(unlimited: 0)
    carrier.attachment = CustomRule(batched(of(tape, n).gradient, areBatched))
    return tape.leaf(
      owning: Unmanaged.passRetained(carrier), .uint8, LayoutTable.shared.intern(dims: [0]))
  }

  private static func batched(
    _ gradient: @escaping Gradient, _ areBatched: [Bool]
  ) -> Gradient {
    { g, inputs, result in
      let own = inputs.indices.filter { areBatched[$0] }
      let operands = [g] + own.map { inputs[$0] } + [result]
      // Which operands have a gradient, and how many the rule gives: a wrong number is its own error.
      var places: [Int?] = []
      let parts = Batching.run(
        operands, nil, outAxes: nil, failures: 1
      ) { sample in
        var all = inputs
        for (k, place) in own.enumerated() { all[place] = sample[k + 1] }
        var given: [Tensor] = []
        for (k, part) in gradient(sample[0], all, sample[sample.count - 1]).enumerated() {
          places.append(part == nil ? nil : given.count)
          guard let part else { continue }
          given.append(k < all.count ? part.fitted(to: all[k].shape) : part)
        }
        return given
      }
      if let poison = parts.first(where: { $0.poison != nil }) { return inputs.map { _ in poison } }
      return places.map { $0.map { parts[$0] } }
    }
  }
}

extension Tensor {
  /// A gradient in the shape of its operand, where the two broadcast: else as it is, which is an error.
  fileprivate func fitted(to shape: [Int]) -> Tensor {
    if poison != nil || self.shape == shape { return self }
    let common = Layout.broadcast(self.shape, shape)
    if common == shape { return broadcast(to: shape) }
    if common != self.shape { return self }
    let axes = Layout.summedRuns(from: self.shape, to: shape).flatMap { Array($0) }
    return sum(axes: axes).reshaped(shape)
  }
}
