// Values for the tensors of a model, by name: out of a file, another model or another task.

/// Why values don't fit a model: all that is wrong, not only the first.
public struct ParameterError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A tensor whose value has another shape, or a kind of element that it can't hold.
  public struct Mismatch: Sendable, Equatable {
    /// The tensor.
    public let name: String
    /// What it is: its shape, and type where that is at fault.
    public let expected: String
    /// What the value is.
    public let got: String
  }

  /// Tensors without a value.
  public let missing: [String]
  /// Values without a tensor.
  public let unexpected: [String]
  /// Values that don't fit.
  public let mismatches: [Mismatch]

  /// All of it, with names.
  public var description: String {
    var parts: [String] = []
    if !missing.isEmpty { parts.append("no value for \(Self.list(missing))") }
    if !unexpected.isEmpty { parts.append("no tensor for \(Self.list(unexpected))") }
    parts += mismatches.map { "'\($0.name)': expected \($0.expected), got \($0.got)" }
    return "load: " + parts.joined(separator: "; ")
  }

  init(missing: [String], unexpected: [String], mismatches: [Mismatch]) {
    (self.missing, self.unexpected, self.mismatches) = (missing, unexpected, mismatches)
  }

  /// One value that does not fit.
  init(_ name: String, expected: String, got: String) {
    self.init(
      missing: [], unexpected: [],
      mismatches: [Mismatch(name: name, expected: expected, got: got)])
  }

  /// Whether nothing is wrong.
  var isEmpty: Bool { missing.isEmpty && unexpected.isEmpty && mismatches.isEmpty }

  private static func list(_ names: [String]) -> String {
    names.map { "'\($0)'" }.joined(separator: ", ")
  }
}

extension Parameterized {
  /// Copies values into the tensors of this model, by name.
  ///
  ///     try model.load(other.tensorsByName)
  ///
  /// The tensors stay the objects that they are, with their element types, so optimisers and views see the
  /// values. Either all are loaded or, where something does not fit, none.
  ///
  /// - Parameters:
  ///   - values: Tensors or arrays, in the shapes of the model's. Floats are rounded to the type of the tensor;
  ///     for whole numbers they are an error.
  ///   - allowsMissing: Whether tensors without a value keep the one that they have. A tensor with several
  ///     names needs a value under one of them.
  ///   - allowsUnexpected: Whether values that belong to no tensor are left alone.
  /// - Throws: `ParameterError`, with every name that is missing, unexpected or of another shape.
  /// - Complexity: forces evaluation: afterwards nothing depends on the values' memory.
  public func load<Value: ArrayOperand>(
    _ values: [String: Value], allowsMissing: Bool = false, allowsUnexpected: Bool = false
  ) throws(ParameterError) {
    let named = namedTensors
    let values = values.mapValues { $0._form }
    let names = Set(named.map(\.name))
    let given = Set(named.filter { values[$0.name] != nil }.map { ObjectIdentifier($0.tensor) })
    let missing = named.filter { !given.contains(ObjectIdentifier($0.tensor)) }.map(\.name)
    let unexpected = values.keys.filter { !names.contains($0) }.sorted()
    let mismatches = named.compactMap { name, tensor in
      values[name].flatMap { mismatch(name, tensor, $0) }
    }
    let error = ParameterError(
      missing: allowsMissing ? [] : missing, unexpected: allowsUnexpected ? [] : unexpected,
      mismatches: mismatches)
    if !error.isEmpty { throw error }
    noAutodiff {
      for (name, tensor) in named {
        if let value = values[name] { tensor.assign(value) }
      }
      eval(named.map(\.tensor))
    }
  }

  /// Copies snapshots into the tensors of this model, as `load` does values.
  public func load(
    _ snapshots: [String: TensorSnapshot], allowsMissing: Bool = false,
    allowsUnexpected: Bool = false
  ) throws(ParameterError) {
    try load(
      snapshots.mapValues { Tensor(sharing: $0) }, allowsMissing: allowsMissing,
      allowsUnexpected: allowsUnexpected)
  }

  /// The values of all tensors by name: what another task, a file or a later moment can `load`.
  ///
  /// - Complexity: forces evaluation and copies.
  public var snapshots: [String: TensorSnapshot] {
    let named = namedTensors
    eval(named.map(\.tensor))
    return named.reduce(into: [:]) { $0[$1.name] = $1.tensor.snapshot }
  }
}

private func mismatch(
  _ name: String, _ tensor: Tensor, _ value: Tensor
) -> ParameterError.Mismatch? {
  if tensor.shape != value.shape {
    return .init(name: name, expected: "\(tensor.shape)", got: "\(value.shape)")
  }
  if value.dtype.isFloating, !tensor.dtype.isFloating {
    return .init(name: name, expected: "\(tensor.dtype)", got: "\(value.dtype)")
  }
  return nil
}
