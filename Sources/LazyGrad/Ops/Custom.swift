// Operations that a program brings itself, with a derivative of its own: on tensors, and on host
// arrays. The value is any tensor; a chain of aliases over it, one per operand, carries the rule.

internal import LazyGradJIT

extension Tensor {
  /// An operation made of other operations that is differentiated by a rule of its own: where the
  /// derivative is known to be simpler or more exact than that of the parts.
  ///
  ///     func logCosh(_ x: Tensor) -> Tensor {
  ///       Tensor.composite(inputs: [x]) { x in
  ///         let y = abs(x[0])
  ///         return y + log1p(exp(-2 * y)) - 0.6931471805599453
  ///       } gradient: { g, x, _ in [g * tanh(x[0])] }
  ///     }
  ///
  /// - Parameters:
  ///   - inputs: The operands.
  ///   - forward: Gives the result for the operands, which come as constants. Called once, at once.
  ///   - gradient: Gives, for the gradient with respect to the result, the operands and the result,
  ///     the gradient with respect to every operand, or nil where it is zero. A gradient is summed
  ///     down to its operand's shape and cast to its type. Called when a backward pass comes by, in
  ///     a `noAutodiff` scope; operations in it are recorded, so that they fuse with the pass. With
  ///     `createGraph: true` there is no such scope, and they are differentiated for the derivatives
  ///     of higher order.
  /// - Returns: The value of `forward`, a variable if it is of a floating type and an operand is a
  ///   variable.
  ///
  /// Stops the program, or poisons a result inside `catchingTensorErrors`, if `gradient` gives
  /// another number of gradients than there are operands, or one that doesn't fit its operand.
  /// - Complexity: records what `forward` records, and one node for each operand.
  public static func composite(
    inputs: [Tensor], forward: ([Tensor]) -> Tensor,
    gradient: @escaping (_ gradient: Tensor, _ inputs: [Tensor], _ result: Tensor) -> [Tensor?]
  ) -> Tensor {
    composite(inputs: inputs, forward: forward, rule: CustomRule(gradient))
  }

  private static func composite(
    inputs: [Tensor], forward: ([Tensor]) -> Tensor, rule custom: CustomRule
  ) -> Tensor {
    if let poison = inputs.lazy.compactMap({ poisoned($0) }).first { return poison }
    let value = noAutodiff { forward(inputs.map { Composite.constant($0) }) }
    if let poison = poisoned(value) { return poison }
    if inputs.isEmpty || !value.dtype.isFloating { return Composite.constant(value) }
    let rule = CustomRule.makeSlot(custom)
    defer { Tape.release(rule) }
    // An alias shows memory in C order.
    var result = Composite.constant(Tape.isInOrder(value.slot) ? value : noAutodiff { +value })
    for (k, input) in inputs.enumerated() {
      let value = result
      result = record(input) {
        Tensor(
          Tape.general(
            .attach, input.slot, value.slot, rule, type: value.slot.pointee.type,
            shape: value.shapeID, attribute: Composite.custom.attribute(UInt32(k)), mode: $0))
      }
    }
    return result
  }

  /// An operation on host arrays with its own derivative: code of your own, or of a C library.
  ///
  ///     func sorted(_ x: Tensor) -> Tensor {
  ///       Tensor.custom(inputs: [x]) { x in
  ///         NDArray(x[0].elements(as: Double.self).sorted())
  ///       } backward: { g, x, _ in
  ///         let places = x[0].elements(as: Double.self).enumerated().sorted { $0.element < $1.element }
  ///         var result = [Double](repeating: 0, count: places.count)
  ///         for (k, place) in places.enumerated() {
  ///           result[place.offset] = g.elements(as: Double.self)[k]
  ///         }
  ///         return [NDArray(result)]
  ///       }
  ///     }
  ///
  /// The arrays that the closures are given show the tensors' memory and are read-only; those that
  /// they return are taken over without a copy and must not be written afterwards.
  ///
  /// - Parameters:
  ///   - inputs: The operands.
  ///   - forward: Gives the result for the operands' values. Called once, at once.
  ///   - backward: Gives, for the gradient with respect to the result, the operands and the result,
  ///     the gradient with respect to every operand, or nil where it is zero. Called when a backward
  ///     pass comes by. What it gives is a constant: there are no derivatives of higher order.
  /// - Returns: As for `composite(inputs:forward:gradient:)`, and errors likewise.
  /// - Complexity: forces evaluation of the operands, and of the gradient during the backward pass.
  public static func custom(
    inputs: [Tensor], forward: ([NDArray]) -> NDArray,
    backward: @escaping (_ gradient: NDArray, _ inputs: [NDArray], _ result: NDArray) -> [NDArray?]
  ) -> Tensor {
    if inputs.contains(where: { Tape.needsSamples($0.slot) }) {
      return fail(
        "vmap",
        "expected operations that can be recorded for a batch, got Tensor.custom, which computes a "
          + "sample's value on host arrays; Tensor.composite takes a rule in tensor operations",
        inputs)
    }
    let rule = CustomRule(isOnArrays: true) { gradient, inputs, result in
      backward(
        gradient.readOnlyArray, inputs.map(\.readOnlyArray), result.readOnlyArray
      ).map { $0.map { Tensor($0, constant: true, copy: false) } }
    }
    return composite(
      inputs: inputs,
      forward: { Tensor(forward($0.map(\.readOnlyArray)), constant: true, copy: false) },
      rule: rule)
  }

  private var readOnlyArray: NDArray {
    let array = array
    array.isNativelyWriteable = false
    return array
  }
}

/// The rule of one use of a custom operation; lives as long as the graph that it is part of.
///
/// To the table of composites it is one like the others, but the closure is data, which no attribute can
/// name: a value without elements carries it, so that it ends with the last record that leads to it.
///
/// A pass that comes by one is derived every time, not copied as an equal one was recorded before:
///
/// 1. Equal records don't mean equal closures. Every use makes a new one, with values that it has
///    captured and that Swift can't compare, and the numbers that it multiplies by are in what it records.
/// 2. Nor does the same closure record the same again: it may read a variable or a host array, count its
///    calls, draw random numbers, wait for other threads. One that captures nothing still sees globals.
/// 3. To run it and to compare what it records would be sound. But it is given the gradient as a tensor
///    on this tape, which a walk has to have recorded before; a copy writes the records of a whole pass
///    at once, with their final counts of uses, and can't go on from the middle where they differ.
///
/// What the library defines itself has none of this (`Composite`): its rules are the same for a number.
final class CustomRule {
  typealias Gradient = (Tensor, [Tensor], Tensor) -> [Tensor?]
  let gradient: Gradient

  /// Whether what it gives are constants, which have no derivatives.
  let isOnArrays: Bool

  init(isOnArrays: Bool = false, _ gradient: @escaping Gradient) {
    self.gradient = gradient
    self.isOnArrays = isOnArrays
  }

  /// A handle for a value without elements that the rule hangs on.
  static func makeSlot(_ rule: CustomRule) -> SlotRef {
    let carrier = Storage(unlimited: 0)
    carrier.attachment = rule
    let tape = Tape.current
    return tape.locked {
      tape.makeSlot(
        storage: Unmanaged.passRetained(carrier), layout: LayoutTable.shared.intern(dims: [0]),
        offset: 0, type: .uint8, isVariable: false)
    }
  }

  /// The rule of the last alias of a chain, which the gradient reaches first: it serves all operands,
  /// and what is left of the chain is passed over.
  static func apply(_ p: BackwardPass, _ n: UInt32, _ g: UInt32) {
    // Kept until no reference to the rule is left here: the last one must not go while the tape is locked.
    let carrier = p.tape.c(n)
    p.tape.retainNode(carrier)
    run(p, n, g)
    p.tape.letGo(carrier)
    p.tape.freeUnread(carrier)
  }

  /// The rule of an alias.
  static func of(_ tape: Tape, _ n: UInt32) -> CustomRule {
    guard
      let rule = tape[tape.c(n)].storage?.takeUnretainedValue().attachment as? CustomRule
    else { fatalError("LazyGrad: custom: an operation without its rule") }
    return rule
  }

  @inline(never)
  private static func run(_ p: BackwardPass, _ n: UInt32, _ g: UInt32) {
    let rule = of(p.tape, n)
    let operands = chain(p.tape, n) { p.passOver($0) }.operands
    p.derive(n, g, operands) { Self.checked(rule.gradient($0, $1, $2), $1) }
  }

  /// The operands of a custom operation, of which `n` is the last alias, and its value.
  ///
  /// - Parameter visit: Called for what is left of the chain of aliases, with the records in later windows
  ///   that stand for them.
  static func chain(
    _ tape: Tape, _ n: UInt32, visit: (UInt32) -> Void = { _ in }
  ) -> (operands: [UInt32], value: UInt32) {
    var operands: [UInt32] = []
    var alias = n
    for k in (0...Composite.extra(tape[n])).reversed() {
      operands.append(tape.a(alias))
      if k == 0 { break }
      alias = tape.b(alias)
      while let source = tape.importedNode(alias) {
        visit(alias)
        alias = source
      }
      visit(alias)
    }
    return (operands.reversed(), tape.b(alias))
  }

  /// The gradients that can be used.
  private static func checked(_ parts: [Tensor?], _ inputs: [Tensor]) -> [Tensor?] {
    if parts.count != inputs.count {
      _ = fail("custom", "expected \(inputs.count) gradients, got \(parts.count)", inputs)
      return []
    }
    return zip(parts, inputs).map { part, input in
      guard let part, part.kind != .poisoned else { return nil }
      let common = Layout.broadcast(part.shape, input.shape)
      if common != part.shape, common != input.shape {
        _ = fail(
          "custom",
          "a gradient of shape \(part.shape) does not fit its operand of shape \(input.shape)",
          [part, input])
        return nil
      }
      return part
    }
  }
}

extension BackwardPass {
  /// Passes gradients on that a rule in operations on tensors says: what a program brings, and rules of the
  /// library that would be too long in records.
  ///
  /// No lock is held while the rule runs: it may be the program's, and wait for other threads.
  ///
  /// - Parameters:
  ///   - needs: The values that the rule reads; nil: all. Of the others, which may be gone and can't be
  ///     computed again then, it gets zeros of their shape.
  ///   - rule: Given the gradient, the operands and the result. nil: an operand has none.
  func derive(
    _ n: UInt32, _ g: UInt32, _ operands: [UInt32], reading needs: Needs? = nil,
    by rule: CustomRule.Gradient
  ) {
    let places: [Needs] = [.a, .b, .c]
    func given(_ node: UInt32, _ need: @autoclosure () -> Needs) -> Tensor {
      needs.map { $0.contains(need()) } ?? true ? tensor(node) : zeros(node)
    }
    var call: RuleCall? = RuleCall(
      inputs: operands.enumerated().map { given($1, places[$0]) }, result: given(n, .output),
      gradient: tensor(g, as: tape[n].type))
    // The tensors that the rule sees end inside: to let go of one takes the lock.
    let parts = tape.unlocked {
      let parts = call!.parts(rule, createsGraph: createsGraph)
      call = nil
      tape.settleAlone()
      return parts
    }
    for (operand, part) in zip(operands, parts) {
      guard let part else { continue }
      if wants(operand) { add(operand, cast(tape.inWindow(part), type(operand))) }
      tape.letGo(part)
      tape.freeUnread(part)
    }
  }

  /// A tensor of a node's value, for code outside of the library; in another type where one is named.
  private func tensor(_ n: UInt32, as type: ScalarType? = nil) -> Tensor {
    let value = value(n)
    if let type, tape[value].type != type {
      return Tensor(unchecked: tape.makeSlot(cast(value, type)))
    }
    return Tensor(unchecked: tape.makeSlot(emit(.copy, value)))
  }

  /// A tensor of zeros in the shape of a node's value.
  private func zeros(_ n: UInt32) -> Tensor {
    let zeros = emit(.copy, type: type(n), shape: tape[n].shape, number(0, n))
    return Tensor(unchecked: tape.makeSlot(zeros))
  }
}

/// What a rule in operations on tensors is given.
private struct RuleCall {
  let inputs: [Tensor]
  let result: Tensor
  let gradient: Tensor

  /// Runs a rule.
  ///
  /// - Returns: The nodes of the gradients on the tape of the pass, each with one more use; nil where
  ///   there is none.
  func parts(_ rule: CustomRule.Gradient, createsGraph: Bool) -> [UInt32?] {
    let parts =
      createsGraph
      ? rule(gradient, inputs, result) : noAutodiff { rule(gradient, inputs, result) }
    return parts.map { part in
      guard let part else { return nil }
      let tape = Tape.hold(all: [gradient.slot, part.slot])
      defer { tape.unlock() }
      let id = tape.operand(part.slot)
      tape.retainNode(id)
      return id
    }
  }
}
