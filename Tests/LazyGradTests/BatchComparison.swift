// Functions of a batch against the loop over its samples: values, gradients inside and gradients through. Uses the
// library only.

import LazyGrad

/// A function of some tensors, which operands have a batch, and how long that is.
struct BatchComparison {
  let name: String
  let shapes: [[Int]]
  let range: ClosedRange<Double>
  /// Whether each operand has a batch; the others belong to every sample.
  let isBatched: [Bool]
  /// Whether the batch is an operand's last axis, so that no sample lies in memory in one piece.
  var isLast = false
  let size: Int
  let function: ([Tensor]) -> Tensor

  /// What is to agree.
  enum Part: CaseIterable { case values, inside, through, second }

  /// The operands of every sample, and those of the batch. Each call makes new variables.
  private func operands() -> (samples: [[Tensor]], batch: [Tensor]) {
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15 &+ UInt64(name.utf8.count &* 7919 &+ size)
    func next() -> Double {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let unit = Double(state >> 11) / Double(1 << 53)
      return range.lowerBound + unit * (range.upperBound - range.lowerBound)
    }
    var samples = [[Tensor]](repeating: [], count: size)
    var batch: [Tensor] = []
    for (shape, isBatched) in zip(shapes, isBatched) {
      let count = shape.reduce(1, *)
      if !isBatched {
        let shared = Tensor((0..<count).map { _ in next() }, shape: shape)
        for k in 0..<size { samples[k].append(shared) }
        batch.append(shared)
        continue
      }
      let values = (0..<size).map { _ in (0..<count).map { _ in next() } }
      for k in 0..<size { samples[k].append(Tensor(values[k], shape: shape)) }
      if isLast {
        let turned = (0..<count).flatMap { place in values.map { $0[place] } }
        batch.append(Tensor(turned, shape: shape + [size]))
      } else {
        batch.append(Tensor(values.flatMap { $0 }, shape: [size] + shape))
      }
    }
    return (samples, batch)
  }

  private var axes: [Int?] {
    zip(isBatched, shapes).map { $0 ? (isLast ? $1.count : 0) : nil }
  }

  /// Weights that tell elements apart.
  private func weighted(_ y: Tensor) -> Tensor {
    let weights = (0..<y.count).map { 0.3 + Double(($0 * 37) % 11) / 7 }
    return y * Tensor(weights, shape: y.shape, constant: true)
  }

  private func slopes(_ t: [Tensor], _ order: Int) -> [Tensor] {
    let loss = weighted(function(t)).sum()
    if order == 1 { return gradients(of: loss, withRespectTo: t) }
    let first = gradients(of: loss, withRespectTo: t, createGraph: true)
    let sum = first.reduce(Tensor(0.0, constant: true)) { $0 + square($1).sum() }
    return gradients(of: sum, withRespectTo: t)
  }

  /// What does not agree; nil where all does.
  func failure(_ part: Part, tolerance: Double = 1e-9) -> String? {
    let (samples, batch) = operands()
    let expected: [Tensor]
    let got: [Tensor]
    switch part {
    case .values:
      got = vmap(inAxes: axes) { [function($0)] }(batch)
      if size == 0 { return emptyFailure(got, [function(anySample(batch))]) }
      expected = [stack(samples.map { function($0) })]
    case .inside, .second:
      let order = part == .inside ? 1 : 2
      got = vmap(inAxes: axes) { slopes($0, order) }(batch)
      if size == 0 { return emptyFailure(got, anySample(batch)) }
      let each = samples.map { slopes($0, order) }
      expected = shapes.indices.map { k in stack(each.map { $0[k] }) }
    case .through:
      let result = vmap(inAxes: axes) { [weighted(function($0))] }(batch)[0]
      got = gradients(of: result.sum(), withRespectTo: batch)
      if size == 0 { return emptyFailure(got.map { $0 }, nil) }
      let each = samples.map { slopes($0, 1) }
      expected = shapes.indices.map { k -> Tensor in
        let all = stack(each.map { $0[k] })
        if !isBatched[k] { return all.sum(axis: 0) }
        if !isLast { return all }
        return all.transposed(Array(1..<all.rank) + [0])
      }
    }
    for (k, (a, b)) in zip(got, expected).enumerated() {
      if a.shape != b.shape { return "\(name) \(part) \(k): shape \(a.shape), expected \(b.shape)" }
      if a.dtype != b.dtype { return "\(name) \(part) \(k): \(a.dtype), expected \(b.dtype)" }
      let (x, y) = (a.elements(as: Double.self), b.elements(as: Double.self))
      for (i, (p, q)) in zip(x, y).enumerated() {
        let isEqual = p == q || p.isNaN && q.isNaN
        if !isEqual, !(abs(p - q) <= tolerance * max(1, abs(q))) {
          return "\(name) \(part) \(k), element \(i): \(p), expected \(q)"
        }
      }
    }
    return got.count == expected.count ? nil : "\(name) \(part): \(got.count) results"
  }

  /// Operands of the shapes of a sample, for what a batch without samples can be compared with.
  private func anySample(_ batch: [Tensor]) -> [Tensor] {
    shapes.enumerated().map { k, shape in
      isBatched[k] ? Tensor.full(shape, (range.lowerBound + range.upperBound) / 2) : batch[k]
    }
  }

  private func emptyFailure(_ got: [Tensor], _ sample: [Tensor]?) -> String? {
    for (k, tensor) in got.enumerated() {
      let values = tensor.elements(as: Double.self)
      if let sample, tensor.shape != [0] + sample[k].shape || !values.isEmpty {
        return "\(name) without samples, \(k): shape \(tensor.shape)"
      }
      if values.contains(where: { $0 != 0 }) { return "\(name) without samples, \(k): \(values)" }
    }
    return nil
  }
}
