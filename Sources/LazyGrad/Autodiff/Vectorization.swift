// Functions of one sample made functions of a batch. What is recorded of a sample is recorded once more with an
// axis for the batch: BatchWalk.swift goes over the records, BatchingRules.swift says what becomes of one.

internal import LazyGradJIT

// MARK: - For programs

/// A function of a batch, made of one of a sample: `vmap(f)(x)` is `f` of every `x[k]`, stacked.
///
///     let distance = vmap { (a: Tensor, b: Tensor) in sqrt(square(a - b).sum()) }
///     distance(points, others)                    // of shape [batch], for points of shape [batch, axes]
///
///     // The gradient for every sample by itself:
///     let slopes = vmap { (x: Tensor, y: Tensor) in
///       gradient(of: loss(w, x, y), withRespectTo: w)
///     }
///     slopes(inputs, targets)                     // of shape [batch] + w.shape
///
/// The function is called once, with tensors that stand for a sample and have no values. What it records is then
/// recorded again with an axis for the batch in front: there is no loop, and products of all samples with one
/// matrix are one product. What it captures belongs to every sample, and so do random numbers that it
/// draws: all samples have the same. Give it numbers that were drawn before where they are to have their own.
///
/// A result that does not depend on a sample is repeated. Values are those of the loop, to the last bit except
/// where sums and products are added up in another order. Gradients flow through to what the function is given
/// and what it captures; calls nest, and functions such as `gradient(of:withRespectTo:)`, ``jacobian(at:createGraph:of:)-(Tensor,_,_)``
/// and `hessian` may be called inside.
///
/// Inside, a value can't be asked for: by `item()`, `array`, printing, a mask or an index tensor whose elements
/// are looked at, `out:`, or `Tensor.custom`. Nor may a tensor of a sample be kept, by an update in
/// place of what was captured or by `backward()`. These stop the program, or are thrown by
/// `catchingTensorErrors`.
///
/// - Parameters:
///   - inAxis: The axis of the operand that is the batch. The function gets the operand without it.
///   - outAxis: Where the result has the batch.
///   - function: Gives a result for one sample.
/// - Returns: A function of batches. A batch may have a length of 0 or 1.
/// - Complexity: records what the function records twice, and evaluates nothing.
public func vmap(
  inAxis: Int = 0, outAxis: Int = 0, _ function: @escaping (Tensor) -> Tensor
) -> (Tensor) -> Tensor {
  { Batching.one([$0], [inAxis], outAxis) { function($0[0]) } }
}

/// The same for a function of two tensors.
///
/// - Parameters:
///   - inAxes: For each operand the axis that is the batch; nil: it belongs to every sample as a whole.
///   - outAxis: Where the result has the batch.
///   - function: Gives a result for one sample.
public func vmap(
  inAxes: (Int?, Int?) = (0, 0), outAxis: Int = 0,
  _ function: @escaping (Tensor, Tensor) -> Tensor
) -> (Tensor, Tensor) -> Tensor {
  { Batching.one([$0, $1], [inAxes.0, inAxes.1], outAxis) { function($0[0], $0[1]) } }
}

/// The same for a function of three tensors.
///
/// - Parameters:
///   - inAxes: For each operand the axis that is the batch; nil: it belongs to every sample as a whole.
///   - outAxis: Where the result has the batch.
///   - function: Gives a result for one sample.
public func vmap(
  inAxes: (Int?, Int?, Int?) = (0, 0, 0), outAxis: Int = 0,
  _ function: @escaping (Tensor, Tensor, Tensor) -> Tensor
) -> (Tensor, Tensor, Tensor) -> Tensor {
  {
    Batching.one([$0, $1, $2], [inAxes.0, inAxes.1, inAxes.2], outAxis) {
      function($0[0], $0[1], $0[2])
    }
  }
}

/// The same for a function of any number of tensors with any number of results.
///
///     let parts = vmap { t in gradients(of: loss(t[0], w, b), withRespectTo: [w, b]) }([inputs])
///
/// - Parameters:
///   - inAxes: For each operand the axis that is the batch; nil: it belongs to every sample as a whole.
///     nil for all: the first axis of each.
///   - outAxes: For each result where it has the batch; nil: all in front.
///   - function: Gives results for one sample.
/// - Returns: A function of lists. Where a call can't be carried out, inside `catchingTensorErrors`, its
///   result is one poisoned tensor, or as many as `outAxes` names.
public func vmap(
  inAxes: [Int?]? = nil, outAxes: [Int]? = nil, _ function: @escaping ([Tensor]) -> [Tensor]
) -> ([Tensor]) -> [Tensor] {
  { operands in
    Batching.run(
      operands, inAxes, outAxes: outAxes, failures: outAxes?.count ?? 1, function)
  }
}

// MARK: - How it goes

enum Batching {
  /// Why something can't be done for a batch.
  struct Refusal: Error {
    let message: String
  }

  static func one(
    _ operands: [Tensor], _ axes: [Int?], _ outAxis: Int, _ function: ([Tensor]) -> Tensor
  ) -> Tensor {
    run(operands, axes, outAxes: [outAxis], failures: 1) { [function($0)] }[0]
  }

  /// Runs a function of a sample for a batch.
  ///
  /// - Parameters:
  ///   - axes: For each operand the axis of the batch, or nil; nil: the first of each.
  ///   - outAxes: For the results where they have it; nil: all in front.
  ///   - failures: How many results there are where there is none.
  static func run(
    _ operands: [Tensor], _ axes: [Int?]?, outAxes: [Int]?, failures: Int,
    _ function: ([Tensor]) -> [Tensor]
  ) -> [Tensor] {
    func refused(_ message: String) -> [Tensor] {
      [Tensor](repeating: fail("vmap", message, operands), count: failures)
    }
    if let poison = operands.first(where: { $0.poison != nil }) {
      return [Tensor](repeating: poison, count: failures)
    }
    if let axes, axes.count != operands.count {
      return refused("expected an axis for each of \(operands.count) operands, got \(axes.count)")
    }
    // For operands that have a batch that operand, the batch in front, as the rules have it.
    var batches: [Tensor?] = []
    batches.reserveCapacity(operands.count)
    var size: Int?
    for (k, operand) in operands.enumerated() {
      let asked = if let axes { axes[k] } else { Optional(0) }
      guard let axis = asked else {
        batches.append(nil)
        continue
      }
      guard let place = position(of: axis, rank: operand.rank) else {
        return refused("axis \(axis) is out of range for shape \(operand.shape)")
      }
      let length = operand.layout.dims[place]
      if let size, size != length {
        return refused(
          "expected batches of one length, got \(size) and \(length): shapes "
            + "\(operands.map(\.shape))")
      }
      size = length
      batches.append(place == 0 ? operand : operand.movingAxis(place, to: 0))
    }
    guard let size else { return refused("expected an operand with a batch, got none") }

    var run = SampleRun(batches, size: size)
    var results = function(run.takeInputs(operands))
    if let poison = results.first(where: { $0.poison != nil }) {
      run.end()
      return results.map { _ in poison }
    }
    let outcome: [SlotRef?]
    do throws(Refusal) {
      if let outAxes { try check(outAxes, of: results) }
      outcome = try run.batched(results)
    } catch {
      run.end()
      let poison = fail("vmap", error.message, operands)
      return results.map { _ in poison }
    }
    // What depends on no sample. Nothing else of the function's may be held from here on.
    let whole =
      outcome.contains { $0 == nil } ? zip(results, outcome).map { $1 == nil ? $0 : nil } : []
    results = []
    let escaped = run.escaped()
    run.end()
    let tensors = outcome.enumerated().map { k, slot in
      slot.map { Tensor($0) } ?? whole[k].unsafelyUnwrapped.repeated(size)
    }
    if let escaped {
      let poison = fail("vmap", escaped, operands)
      return tensors.map { _ in poison }
    }
    guard let outAxes else { return tensors }
    return zip(tensors, outAxes).map { tensor, axis in
      let place = position(of: axis, rank: tensor.rank) ?? 0
      return place == 0 ? tensor : tensor.movingAxis(0, to: place)
    }
  }

  /// Finds out whether results of a sample can have the batch at some axes.
  private static func check(_ outAxes: [Int], of results: [Tensor]) throws(Refusal) {
    if outAxes.count != results.count {
      throw Refusal(
        message: "expected an axis for each of \(results.count) results, got \(outAxes.count)")
    }
    for (result, axis) in zip(results, outAxes)
    where position(of: axis, rank: result.rank + 1) == nil {
      throw Refusal(
        message: "axis \(axis) is out of range for a batch of results of shape \(result.shape)")
    }
  }
}

extension Tensor {
  /// One axis in another place; a view.
  fileprivate func movingAxis(_ axis: Int, to place: Int) -> Tensor {
    var order = Array(0..<rank)
    order.insert(order.remove(at: axis), at: place)
    return transposed(order)
  }

  /// The value as often as a batch has samples; an error where the result can't be computed.
  fileprivate func repeated(_ size: Int) -> Tensor { +broadcast(to: [size] + shape) }
}

/// One recording of a function of a sample.
private struct SampleRun {
  /// For each operand that has a batch that operand, the batch in front, and the handles of those.
  private let batches: [Tensor?]
  private let batchSlots: [SlotRef]
  private let size: Int
  /// Nobody else's handles of what stands for the samples: the function may give its own another value.
  private var samples: [SlotRef] = []
  /// Those that it is given, one for each operand that has a batch.
  private var inputs: [SlotRef?] = []
  private var isOpen = true

  init(_ batches: [Tensor?], size: Int) {
    self.batches = batches
    self.size = size
    batchSlots = batches.compactMap { $0?.slot }
    for case let batch? in batches { batch.use() }
    let tape = Tape.hold(all: batchSlots)
    tape.beginSamples()
    samples.reserveCapacity(batches.count)
    inputs.reserveCapacity(batches.count)
    for batch in batches {
      guard let batch else {
        inputs.append(nil)
        continue
      }
      let shape = tape.layout(ViewKey(.sample), of: batch.slot.pointee.shape) {
        LayoutTable.shared.intern(dims: Array($0.dims.dropFirst()))
      }
      let sample = tape.sample(batch.slot.pointee.type, shape: shape)
      samples.append(tape.makeSlot(sample))
      var traits = Node.Traits.none
      if batch.slot.pointee.isVariable { traits.formUnion(.variable) }
      if batch.slot.isGradient { traits.formUnion(.gradient) }
      inputs.append(
        tape.makeSlot(
          tape.append(
            .copy, batch.slot.pointee.type, shape: shape, a: sample, traits: traits)))
    }
    tape.unlock()
  }

  /// What the function is given; afterwards nobody here holds it.
  mutating func takeInputs(_ operands: [Tensor]) -> [Tensor] {
    defer { inputs = [] }
    return zip(inputs, operands).map { input, operand in input.map { Tensor($0) } ?? operand }
  }

  /// Handles for the results of the batch; nil for results that don't depend on a sample.
  func batched(_ results: [Tensor]) throws(Batching.Refusal) -> [SlotRef?] {
    let mode = Scope.mode
    let resultSlots = results.map { $0.slot }
    var all: [SlotRef] = []
    all.reserveCapacity(2 * samples.count + results.count)
    all += samples
    all += batchSlots
    all += resultSlots
    let tape = Tape.hold(all: all)
    return try tape.withSettled { () throws(Batching.Refusal) in
      let operands = batchSlots.map { tape.operand($0) }
      let end = tape.count
      let slots = try tape.recordWalk(question(operands, resultSlots, tape, mode)) {
        () throws(Batching.Refusal) in
        var walk = BatchWalk(tape, size: size, samples: samples)
        defer { walk.destroy() }
        return try walk.run(resultSlots, of: samples, operands, mode)
      }
      // A view that only another view was made of, and the like, would keep what it shows.
      for id in (end..<tape.count).reversed() { tape.freeUnread(id) }
      return slots
    }
  }

  /// What the records for a batch depend on beside the records of a sample.
  private func question(
    _ operands: [UInt32], _ results: [SlotRef], _ tape: Tape, _ mode: RecordMode
  ) -> PassQuestion {
    var question = PassQuestion()
    question.readsPayloads = true
    question.words.reserveCapacity(3 + 2 * operands.count + results.count)
    question.words.append(UInt64(size))
    question.words.append(UInt64(mode.state.rawValue))
    question.words.append(UInt64(operands.count))
    for id in operands { question.words.append(UInt64(tape.count &- id)) }
    func append(_ slot: SlotRef) {
      question.words.append(slot.node.map { UInt64(tape.count &- $0) } ?? 0)
    }
    samples.forEach(append)
    results.forEach(append)
    return question
  }

  /// What is wrong where the program still holds something of a sample; the results' handles are gone.
  func escaped() -> String? {
    let tape = Tape.hold(all: samples)
    return tape.withSettled {
      let walk = BatchWalk(tape, size: size, samples: samples)
      defer { walk.destroy() }
      guard let slot = walk.heldSlot() else { return nil }
      if slot.pointee.owner != nil {
        return
          "expected a function without backward(), which leaves a sample's gradient with a tensor "
          + "that outlives the call; gradients(of:withRespectTo:) returns it"
      }
      return "expected a function that keeps nothing of a sample, got a tensor of shape "
        + "\(LayoutTable.shared[slot.pointee.shape].dims) that outlives the call: kept in a variable, or "
        + "what was captured has been updated in place"
    }
  }

  mutating func end() {
    if !isOpen { return }
    isOpen = false
    let tape = Tape.hold(all: samples)
    tape.endSamples()
    tape.unlock()
    for slot in samples { Tape.release(slot) }
  }
}
