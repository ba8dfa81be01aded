// How tensors lie in the buffers that are sent: one for each element type, and where each tensor is in it. Uses
// NDArray.

/// The order of some tensors in one buffer for each type that elements travel as.
///
///     [a: float32 [2, 3], n: int64 [], b: float32 [4]]
///
///     float32  | a0 a1 a2 a3 a4 a5 | b0 b1 b2 b3 |
///     int64    | n0 |
final class TensorPacking {
  /// A buffer.
  struct Group {
    let dtype: DType
    /// Which tensors, in the order in which they lie there.
    var members: [Int] = []
    var count = 0

    var byteCount: Int { count * dtype.size }
  }

  let groups: [Group]
  private let shapes: [[Int]]
  private let dtypes: [DType]

  /// - Parameter travelling: What elements of a type travel as.
  init(_ tensors: [Tensor], travelling: (DType) -> DType) {
    shapes = tensors.map(\.shape)
    dtypes = tensors.map(\.dtype)
    var groups: [Group] = []
    for (index, tensor) in tensors.enumerated() {
      let type = travelling(tensor.dtype)
      let known = groups.firstIndex { $0.dtype == type }
      let place = known ?? groups.count
      if known == nil { groups.append(Group(dtype: type)) }
      groups[place].members.append(index)
      groups[place].count += tensor.count
    }
    self.groups = groups
  }

  /// Whether it is that of some tensors: the same shapes and types in the same order.
  func isOf(_ tensors: [Tensor]) -> Bool {
    tensors.count == shapes.count
      && tensors.indices.allSatisfy {
        tensors[$0].shape == shapes[$0] && tensors[$0].dtype == dtypes[$0]
      }
  }

  /// For people: `1000 float32 and 3 int64`.
  var summary: String {
    var types: [(dtype: DType, count: Int)] = []
    for (shape, dtype) in zip(shapes, dtypes) {
      let count = shape.reduce(1, *)
      if let known = types.firstIndex(where: { $0.dtype == dtype }) {
        types[known].count += count
      } else {
        types.append((dtype, count))
      }
    }
    let parts = types.map { "\($0.count) \($0.dtype)" }
    return parts.isEmpty ? "nothing" : parts.joined(separator: " and ")
  }

  /// What the summary leaves out.
  var detail: String {
    "shapes " + zip(shapes, dtypes).map { "\($0) \($1)" }.joined(separator: ", ")
  }

  /// A buffer for each group, with the values of its tensors. They are computed in one plan.
  func pack(_ tensors: [Tensor]) throws -> [NDArray] {
    if groups.count == 1 { return [try Tensor.row(of: tensors, dtype: groups[0].dtype)] }
    try catchingTensorErrors { eval(tensors) }
    return try groups.map { group in
      try Tensor.row(of: group.members.map { tensors[$0] }, dtype: group.dtype)
    }
  }

  /// The elements of a buffer, which nobody else has yet, to be written over.
  func elements(_ buffer: NDArray) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: buffer.pointer, count: buffer.count * buffer.dtype.size)
  }

  /// The tensors of buffers: views of these where elements travel as what they are.
  ///
  /// - Parameter tensors: What was packed.
  func unpack(_ buffers: [NDArray], like tensors: [Tensor]) -> [Tensor] {
    if groups.count == 1, dtypes.allSatisfy({ $0 == groups[0].dtype }) {
      return Tensor.parts(of: buffers[0], like: tensors)
    }
    var results = [Tensor?](repeating: nil, count: tensors.count)
    for (group, buffer) in zip(groups, buffers) {
      let parts = Tensor.parts(of: buffer, like: group.members.map { tensors[$0] })
      for (member, part) in zip(group.members, parts) {
        let type = dtypes[member]
        results[member] =
          type == group.dtype ? part : Tensor(part.array.astype(type), constant: true, copy: false)
      }
    }
    return results.compactMap { $0 }
  }
}
