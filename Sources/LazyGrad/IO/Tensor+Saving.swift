// One tensor in a file, with its gradient: MyGrad's `save` and `load`. Uses NPZArchive.

extension Tensor {
  private static let (dataName, gradientName, constantName) = ("data", "grad", "constant")

  /// Writes the tensor, its gradient if it has one, and whether it is a constant.
  ///
  ///     try x.save(to: "x.npz")
  ///     let y = try Tensor.load("x.npz")
  ///
  /// The file is what MyGrad's `mg.save` writes, a `.npz` with `data` and `grad`, and has `constant` besides,
  /// which MyGrad leaves alone: either library reads the other's files. It appears whole or not at all. The
  /// name is taken as it is; no `.npz` is added.
  ///
  /// - Throws: `TensorFileError` where the system refuses, `TensorError` where there is no value. The old
  ///   file stays as it was.
  /// - Complexity: forces evaluation of the tensor and of its gradient. Waits for the disk.
  public func save(to location: some FileLocation) throws {
    var arrays = [
      Self.dataName: try catchingTensorErrors { array }, Self.constantName: NDArray(isConstant),
    ]
    if let gradient = grad {
      arrays[Self.gradientName] = try catchingTensorErrors { gradient.array }
    }
    try NPZArchive.write(arrays, to: location)
  }

  /// Reads a tensor that `save(to:)` or MyGrad has written, with its gradient.
  ///
  /// MyGrad doesn't say whether the tensor was a constant; then floats are variables. The gradient is set by
  /// a backward pass, as MyGrad does it, so inside `noAutodiff` there is none.
  ///
  /// - Throws: `TensorFileError`: the file is damaged, has no `data`, or its parts don't fit together.
  /// - Complexity: reads the file.
  public static func load(_ location: some FileLocation) throws(TensorFileError) -> Tensor {
    try load(NPZArchive(location), location._filePath)
  }

  /// Reads a tensor from the bytes of a file, which have come from elsewhere.
  ///
  /// - Parameters:
  ///   - bytes: The whole file.
  ///   - name: What errors call it.
  /// - Throws: `TensorFileError`, as for a file.
  public static func load(
    bytes: some Sequence<UInt8>, name: String = "bytes"
  ) throws(TensorFileError) -> Tensor {
    try load(NPZArchive(bytes: bytes, name: name), name)
  }

  private static func load(
    _ archive: NPZArchive, _ path: String
  ) throws(TensorFileError) -> Tensor {
    func refuse(_ name: String, _ expected: String, _ found: String) -> TensorFileError {
      TensorFileError(.malformed(expected, found), "read", path, entry: name)
    }
    let data = try archive.array(dataName)
    var isConstant = !data.dtype.isFloating
    if archive.names.contains(constantName) {
      let flag = try archive.array(constantName)
      guard flag.dtype == .bool, flag.count == 1 else {
        throw refuse(constantName, "one truth value", flag.debugDescription)
      }
      isConstant = flag.item(as: Bool.self)
      guard isConstant || data.dtype.isFloating else {
        throw refuse(constantName, "true, as data is \(data.dtype)", "false")
      }
    }
    let tensor = Tensor(data, constant: isConstant, copy: false)
    if archive.names.contains(gradientName) {
      let gradient = try archive.array(gradientName)
      guard gradient.shape == data.shape, gradient.dtype == data.dtype, !isConstant else {
        throw refuse(
          gradientName,
          isConstant ? "no gradient of a constant" : "shape \(data.shape) of \(data.dtype)",
          "shape \(gradient.shape) of \(gradient.dtype)")
      }
      tensor.backward(Tensor(gradient, constant: true, copy: false))
    }
    return tensor
  }
}
