// What ranks do with tensors together: sums, means, copies of one rank's, comparison. Uses TensorPacking and
// RankSum.

/// What is known about a sum of tensors: to write it down takes longer than to add up small ones.
final class KnownSum {
  let operation: String
  let order: SummationOrder
  let packing: TensorPacking
  let form: CollectiveForm

  init(
    _ operation: String, _ order: SummationOrder, _ packing: TensorPacking, _ form: CollectiveForm
  ) {
    (self.operation, self.order, self.packing, self.form) = (operation, order, packing, form)
  }
}

extension Communicator {
  // MARK: Sums and means

  /// The sums of tensors over all ranks. Collective.
  ///
  /// All tensors are computed in one plan and copied into one buffer for each element type; the results are views
  /// of these buffers. Shapes and element types have to be the same on all ranks. `float16` and `bfloat16`
  /// travel and are added up as `float32`; integers wrap around.
  ///
  /// - Parameters:
  ///   - tensors: Floats or integers.
  ///   - order: In which order numbers are added.
  /// - Returns: Constants in the shapes and types of the tensors, the same on all ranks.
  /// - Throws: `CommunicationError` where ranks disagree, or a tensor holds truth values; `TensorError` where there
  ///   is no memory.
  /// - Complexity: forces evaluation; in the order of ranks, sends and receives about twice the tensors' bytes.
  public func sum(_ tensors: [Tensor], order: SummationOrder = .ranks) throws -> [Tensor] {
    try combine(tensors, "sum", weight: nil, order)
  }

  /// The sum of a tensor over all ranks. Collective.
  public func sum(_ tensor: Tensor, order: SummationOrder = .ranks) throws -> Tensor {
    try sum([tensor], order: order)[0]
  }

  /// The means of tensors over all ranks, weighted: of losses and gradients, say. Collective.
  ///
  ///     let gradients = gradients(of: loss, withRespectTo: model.parameters)
  ///     let means = try world.mean([loss] + gradients, weight: Double(rows.count))
  ///
  /// Where each rank's tensors are means over its own rows, and its weight is the number of these, the results
  /// are the means over all rows. A rank without rows takes part with weight 0, and tensors of the right
  /// shapes: what they hold does not count, be it not-a-number. So parts of the data may differ in length.
  ///
  /// Each tensor is multiplied by its rank's weight, unless all ranks have the same; these are added up, and
  /// the sums divided by that of the weights.
  ///
  /// - Parameters:
  ///   - tensors: Floats.
  ///   - weight: How much this rank's tensors count; 0 or more.
  ///   - order: In which order numbers are added.
  /// - Returns: Constants in the shapes and types of the tensors, the same on all ranks.
  /// - Throws: `CommunicationError` where ranks disagree, a tensor holds no floats, a weight is negative or no
  ///   number, or all weights are 0; `TensorError` where there is no memory.
  /// - Complexity: as `sum`.
  public func mean(
    _ tensors: [Tensor], weight: Double = 1, order: SummationOrder = .ranks
  ) throws -> [Tensor] {
    try combine(tensors, "mean", weight: weight, order)
  }

  /// The mean of a tensor over all ranks, weighted. Collective.
  public func mean(
    _ tensor: Tensor, weight: Double = 1, order: SummationOrder = .ranks
  ) throws -> Tensor {
    try mean([tensor], weight: weight, order: order)[0]
  }

  /// - Parameter weight: nil: a sum.
  func combine(
    _ tensors: [Tensor], _ operation: String, weight: Double?, _ order: SummationOrder
  ) throws -> [Tensor] {
    if let weight, !(weight >= 0 && weight.isFinite) {
      throw CommunicationError(
        operation, "expected a weight of 0 or more, got \(weight) on rank \(rank)")
    }
    for tensor in tensors {
      if tensor.isPoisoned {
        throw CommunicationError(
          operation, "expected tensors with values, got one of a call that has failed")
      }
      if weight != nil ? !tensor.dtype.isFloating : tensor.dtype == .bool {
        throw CommunicationError(
          operation,
          "expected \(weight != nil ? "floats" : "numbers"), got \(tensor.dtype) of shape "
            + "\(tensor.shape)")
      }
    }
    let known = prepared(operation, order, tensors)
    let (packing, form) = (known.packing, known.form)
    let isCarried = link?.carries(form) ?? false
    let own = (weight ?? 1).bitPattern
    if !isCarried { try link?.propose(form, own) }
    // Whatever can fail on one rank alone does so before ranks agree.
    let buffers = try packed(tensors, packing, form)
    if isCarried { try link?.propose(form, own, carrying: packing.elements(buffers[0])) }
    try link?.agree()
    let weights = RankWeights(link, own: weight ?? 1)
    if weights.sum == 0 {
      throw CommunicationError(
        operation, "expected a rank with a weight above 0, got 0 on all", isShared: true)
    }
    if let link {
      let sum = RankSum(
        link: link, form: form, order: order, weights: weights, isMean: weight != nil)
      for (group, buffer) in zip(packing.groups, buffers) {
        try sum.run(packing.elements(buffer), group.dtype, isCarried: isCarried)
      }
    }
    return packing.unpack(buffers, like: tensors)
  }

  /// The buffers of a collective, with the tensors' values.
  private func packed(
    _ tensors: [Tensor], _ packing: TensorPacking, _ form: CollectiveForm
  ) throws -> [NDArray] {
    do { return try packing.pack(tensors) } catch {
      link?.giveUp(form)
      throw error
    }
  }

  /// How tensors travel for a sum, and what that is called: as the last time, if the same was asked for.
  private func prepared(
    _ operation: String, _ order: SummationOrder, _ tensors: [Tensor]
  ) -> KnownSum {
    if let same = sums.first(where: {
      $0.operation == operation && $0.order == order && $0.packing.isOf(tensors)
    }) {
      return same
    }
    let packing = TensorPacking(tensors) { type in
      switch type {
      case .float16, .bfloat16: .float32
      case .uint8: .int32
      default: type
      }
    }
    let suffix = order == .library ? " in the library's order" : ""
    let form = CollectiveForm(
      "\(operation) of \(packing.summary)\(suffix)", detail: packing.detail,
      bytes: order == .ranks && packing.groups.count == 1 ? packing.groups[0].byteCount : 0)
    if sums.count >= Self.mostSums { sums.removeFirst() }
    let sum = KnownSum(operation, order, packing, form)
    sums.append(sum)
    return sum
  }

  /// A training step has one or two of them.
  package static let mostSums = 4

  // MARK: Equal models

  /// Gives the tensors of a model the values that they have on one rank. Collective.
  ///
  ///     try world.broadcast(model)
  ///     try world.broadcast([x, y])
  ///
  /// Variables and constants, in place: the tensors stay the objects that they are, as with `load`.
  ///
  /// - Parameters:
  ///   - model: The same tensors on all ranks, in shape and type.
  ///   - root: The rank whose values they are.
  /// - Throws: `CommunicationError` where ranks disagree, `TensorError` where there is no memory.
  /// - Complexity: forces evaluation.
  public func broadcast(_ model: some Parameterized, from root: Int = 0) throws {
    try check(root, "broadcast")
    let tensors = Self.distinct(model).map(\.tensor)
    guard let link, size > 1 else { return }
    let packing = TensorPacking(tensors) { $0 }
    let form = CollectiveForm(
      "broadcast of \(packing.summary) from rank \(root)", detail: packing.detail)
    try link.propose(form)
    let buffers = try packed(tensors, packing, form)
    try link.agree()
    for buffer in buffers {
      try withExtendedLifetime(buffer) {
        try link.broadcast(packing.elements(buffer), from: root, form)
      }
    }
    if rank == root { return }
    try catchingTensorErrors {
      noAutodiff {
        for (tensor, value) in zip(tensors, packing.unpack(buffers, like: tensors)) {
          tensor.assign(value)
        }
        eval(tensors)
      }
    }
  }

  /// Makes sure that a model's tensors have the same bits on all ranks. Collective.
  ///
  /// - Throws: On every rank a `CommunicationError` that names the first tensor that differs, and who has what.
  /// - Complexity: forces evaluation and reads every element once; sends 8 bytes for each tensor.
  public func requireEqual(_ model: some Parameterized) throws {
    let named = Self.distinct(model)
    guard let link, size > 1 else { return }
    let packing = TensorPacking(named.map(\.tensor)) { $0 }
    let form = CollectiveForm("comparison of \(packing.summary)", detail: packing.detail)
    try link.propose(form)
    let tensors = named.map(\.tensor)
    try catchingTensorErrors { eval(tensors) }
    let own = try tensors.map { tensor in
      var fingerprint = Fingerprint()
      try tensor.array.withUnsafeBytes { fingerprint.add($0) }
      return fingerprint.value
    }
    try link.agree()
    if own.isEmpty { return }
    var all = [UInt64](repeating: 0, count: own.count * size)
    try all.withUnsafeMutableBytes { all in
      try own.withUnsafeBytes { try link.allgather($0, into: all.baseAddress!, form) }
    }
    for (i, (name, tensor)) in named.enumerated() {
      let marks = (0..<size).map { String(all[$0 * own.count + i], radix: 16) }
      if marks.contains(where: { $0 != marks[0] }) {
        throw CommunicationError(
          "requireEqual",
          "expected the same bits on all ranks, got '\(name)', \(tensor.shape) \(tensor.dtype), "
            + "with hashes \(RankList.grouped(marks))", isShared: true)
      }
    }
  }

  /// A model's tensors, each once: one may have several names.
  private static func distinct(_ model: some Parameterized) -> [NamedTensor] {
    var known: Set<ObjectIdentifier> = []
    return model.namedTensors.filter { known.insert(ObjectIdentifier($0.tensor)).inserted }
  }
}
