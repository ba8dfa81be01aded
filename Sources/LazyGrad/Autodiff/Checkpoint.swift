// Checkpoints: a part of a program whose inner values are computed again in the backward pass instead of kept.
// Built on composites; needs nothing of the tape but to see what a part depends on.

internal import LazyGradJIT

/// Runs a part of a program without keeping what its derivatives need; the backward pass computes that again.
///
/// Time for memory: a loop of n steps keeps the values of n steps for its backward pass. In parts of √n steps
/// it keeps √n results of parts, and while a part is differentiated the values of √n steps; it computes
/// everything twice.
///
///     var state = [h0]
///     for part in inputs.chunks {
///       state = checkpoint(state + [w]) { t in
///         var h = t[0]
///         for x in part { h = tanh(matmul(h, t[1]) + x) }
///         return [h]
///       }
///     }
///
/// - Parameters:
///   - inputs: Everything that gradients shall flow to: states and weights. Values are those of now, also
///     where a tensor is updated in place before the backward pass.
///   - body: Gives results of one floating type for `inputs`. Called once at once, and once more when a
///     backward pass comes by, so it must do the same each time: draw random numbers by a `RandomKey`, not
///     from the default stream. Other variables than its inputs it must not use, since their gradients
///     would be lost: constants it may.
/// - Returns: What `body` returns.
///
/// Stops the program, or throws in a `catchingTensorErrors` scope, if `body` uses a variable that is not among
/// the inputs.
///
/// With `createGraph: true` derivatives of every order are right; the values are kept then.
/// - Complexity: evaluates the results, and in a backward pass the part with its gradients.
public func checkpoint(
  _ inputs: [Tensor], _ body: @escaping ([Tensor]) -> [Tensor]
) -> [Tensor] {
  var shapes: [[Int]] = []
  let packed = Checkpoint.run(inputs) { tensors in
    let results = body(tensors)
    shapes = results.map(\.shape)
    return Checkpoint.packed(results)
  }
  if packed.poison != nil { return shapes.isEmpty ? [packed] : shapes.map { _ in packed } }
  if shapes.count == 1 { return [packed] }
  var start = 0
  return shapes.map { shape in
    let count = shape.reduce(1, *)
    defer { start += count }
    return packed[start..<(start + count)].reshaped(shape)
  }
}

/// The same for a part with one result.
///
///     h = checkpoint(h, w) { t in tanh(matmul(t[0], t[1])) }
public func checkpoint(_ inputs: Tensor..., body: @escaping ([Tensor]) -> Tensor) -> Tensor {
  checkpoint(inputs) { [body($0)] }[0]
}

private enum Checkpoint {
  static func run(_ inputs: [Tensor], _ body: @escaping ([Tensor]) -> Tensor) -> Tensor {
    var usesVariables = false
    return Tensor.composite(inputs: inputs) { constants in
      let value = body(constants)
      if value.poison != nil { return value }
      // Its own variables make it one as well.
      usesVariables = !value.isConstant
      if usesVariables, let refusal = refusal(value, []) { return refusal }
      // What depends on a sample of `vmap` has no value to keep.
      return Tape.needsSamples(value.slot) ? value : value.eval()
    } gradient: { gradient, operands, _ in
      // With autodiff on the pass is to be differentiated, and its points lead to what the operands are computed
      // from. They are new: the pass over this part ends at them, not where the oldest operand comes from, on whose
      // way there may be other parts, each of which would go all the way as well.
      let isHigherOrder = Scope.isTracking
      let points = operands.map { isHigherOrder ? +$0 : $0.independent }
      return Scope.with({ $0.isTracking = true }) {
        let value = body(points.map(\.tracked))
        if usesVariables, let refusal = refusal(value, points) {
          return points.map { _ in refusal }
        }
        if value.isConstant { return points.map { _ in nil } }
        let parts = gradients(
          of: (value * gradient).sum(), withRespectTo: points, createGraph: isHigherOrder)
        if !isHigherOrder, !parts.contains(where: { Tape.needsSamples($0.slot) }) {
          // Now, so that the values of this part are gone before the next one's are there; and without its
          // graph, for which they would be kept.
          value.clearGraph()
          eval(parts)
        }
        return parts
      }
    }
  }

  /// Says that something depends on a variable that the program has beside some inputs.
  private static func refusal(_ value: Tensor, _ inputs: [Tensor]) -> Tensor? {
    guard let shape = GraphReader.heldVariable(below: value, besides: inputs) else { return nil }
    return fail(
      "checkpoint",
      "expected a body that uses no variables but its inputs, got one of shape \(shape), whose "
        + "gradient would be lost; give it as an input, or make it a constant")
  }

  /// The elements of some tensors one after the other.
  static func packed(_ tensors: [Tensor]) -> Tensor {
    if let poison = tensors.first(where: { $0.poison != nil }) { return poison }
    guard let first = tensors.first else {
      return fail("checkpoint", "expected a body with at least one result, got none")
    }
    if let other = tensors.first(where: { $0.dtype != first.dtype || !$0.dtype.isFloating }) {
      return fail(
        "checkpoint",
        "expected results of one floating type, got \(first.dtype) and \(other.dtype)",
        tensors)
    }
    return tensors.count == 1 ? first : concatenate(tensors.map { $0.reshaped([$0.count]) })
  }
}

extension GraphReader {
  /// The shape of a variable that a tensor was computed from and that the program holds beside some others;
  /// nil where there is none, as far as is recorded.
  static func heldVariable(below tensor: Tensor, besides others: [Tensor]) -> [Int]? {
    // A view keeps what it is a view of.
    let own = [tensor.slot] + (tensor.base.map { [$0.slot] } ?? [])
    let allowed = Set(others.map(\.slot) + own)
    let tape = Tape.hold(tensor.slot)
    return tape.withSettled {
      guard let head = tensor.slot.node else { return nil }
      var work = [head]
      var seen = Set(work)
      while let id = work.popLast() {
        let record = tape[id]
        if !record.traits.contains(.variable) { continue }
        if let slot = record.slot, !allowed.contains(slot), slot.pointee.isVariable {
          return LayoutTable.shared[record.shape].dims
        }
        var operands = [tape.a(id), tape.b(id), tape.c(id)].filter { $0 != id }
        if let source = tape.importedNode(id) { operands.append(source) }
        // Below an input is what the program had before.
        if let slot = record.slot, !own.contains(slot) { continue }
        for operand in operands where seen.insert(operand).inserted { work.append(operand) }
      }
      return nil
    }
  }
}
