// The values of the oracle: plain arrays in C order, every float held as a Double and every integer
// as an Int64. Uses Core only.

/// An array of the oracle. The numbers are always values of `type`: float32 numbers have been
/// rounded to float32, those of float16 and bfloat16 to these, narrow integers are in range, a bool is 0 or 1.
package struct ReferenceArray: Sendable {
  package let type: ScalarType
  package let dims: [Int]
  /// The elements of a floating type in C order, else empty.
  package private(set) var floats: [Double] = []
  /// The elements of an integer type or bool in C order, else empty.
  package private(set) var integers: [Int64] = []

  /// The number of elements.
  package var count: Int { dims.reduce(1, *) }

  /// Makes a floating array; the numbers are rounded to `type`.
  package init(_ type: ScalarType, _ dims: [Int], floats: [Double]) {
    self.type = type
    self.dims = dims
    self.floats = type == .float64 ? floats : floats.map { Self.rounded($0, type) }
    precondition(type.isFloating && floats.count == count, "reference: count and shape differ")
  }

  /// Makes an integer or bool array; the numbers wrap into `type`, and for bool all but 0 is true.
  package init(_ type: ScalarType, _ dims: [Int], integers: [Int64]) {
    self.type = type
    self.dims = dims
    self.integers = integers.map { Self.wrapped($0, type) }
    precondition(!type.isFloating && integers.count == count, "reference: count and shape differ")
  }

  /// A number as the nearest one of a floating type, the even one of two.
  package static func rounded(_ x: Double, _ type: ScalarType) -> Double {
    switch type {
    case .float32: Double(Float(x))
    case .float16: nearest(x, digits: 11, lowest: -14, highest: 15)
    case .bfloat16: nearest(x, digits: 8, lowest: -126, highest: 127)
    default: x
    }
  }

  /// The nearest multiple of the last digit that numbers of a size have; with exponents from `lowest` on, below
  /// which digits get lost, up to `highest`.
  private static func nearest(_ x: Double, digits: Int, lowest: Int, highest: Int) -> Double {
    if x == 0 || !x.isFinite { return x }
    // Scaling by powers of two rounds nothing but what rounds to 0 anyway.
    let exponent = max(Int(x.exponent), lowest)
    let unit = Double(sign: .plus, exponent: exponent - digits + 1, significand: 1)
    let result = (x / unit).rounded(.toNearestOrEven) * unit
    let limit = Double(sign: .plus, exponent: highest + 1, significand: 1)
    return result.magnitude < limit ? result : x < 0 ? -.infinity : .infinity
  }

  /// An integer as a value of a narrower type: two's complement, as NumPy; bool: whether not 0.
  package static func wrapped(_ x: Int64, _ type: ScalarType) -> Int64 {
    switch type {
    case .bool: x == 0 ? 0 : 1
    case .uint8: Int64(UInt8(truncatingIfNeeded: x))
    case .int32: Int64(Int32(truncatingIfNeeded: x))
    default: x
    }
  }

  /// Copies an array out of memory; strides count in elements of `layout`, whose first element is
  /// at `pointer`.
  package init(_ type: ScalarType, _ layout: Layout, at pointer: UnsafeRawPointer) {
    let places = Self.places(layout.dims, layout.strides)
    func read<T>(_: T.Type) -> [T] {
      let memory = pointer.assumingMemoryBound(to: T.self)
      return places.map { memory[$0] }
    }
    switch type {
    case .float32: self.init(type, layout.dims, floats: read(Float.self).map(Double.init))
    case .float64: self.init(type, layout.dims, floats: read(Double.self))
    case .int64: self.init(type, layout.dims, integers: read(Int64.self))
    case .int32: self.init(type, layout.dims, integers: read(Int32.self).map(Int64.init))
    case .uint8, .bool: self.init(type, layout.dims, integers: read(UInt8.self).map(Int64.init))
    case .float16, .bfloat16:
      self.init(
        type, layout.dims,
        floats: read(UInt16.self).map { Double(HalfFloat.float($0, type)) })
    }
  }

  /// Writes the elements to contiguous memory.
  package func store(to pointer: UnsafeMutableRawPointer) {
    for i in 0..<count {
      let place = pointer + i * type.size
      switch type {
      case .float32: place.storeBytes(of: Float(floats[i]), as: Float.self)
      case .float64: place.storeBytes(of: floats[i], as: Double.self)
      case .int64: place.storeBytes(of: integers[i], as: Int64.self)
      case .int32: place.storeBytes(of: Int32(integers[i]), as: Int32.self)
      case .uint8, .bool: place.storeBytes(of: UInt8(integers[i]), as: UInt8.self)
      case .float16, .bfloat16:
        place.storeBytes(of: HalfFloat.bits(floats[i], type), as: UInt16.self)
      }
    }
  }

  /// The places in memory, in elements, of all elements of a strided array in C order.
  package static func places(_ dims: [Int], _ strides: [Int], from start: Int = 0) -> [Int] {
    let count = dims.reduce(1, *)
    var result: [Int] = []
    result.reserveCapacity(count)
    var index = [Int](repeating: 0, count: dims.count)
    var place = start
    for _ in 0..<count {
      result.append(place)
      for axis in dims.indices.reversed() {
        index[axis] += 1
        place += strides[axis]
        if index[axis] < dims[axis] { break }
        index[axis] = 0
        place -= dims[axis] * strides[axis]
      }
    }
    return result
  }

  /// The elements at `places`, in that order, as an array of other dimensions.
  package func taking(_ places: [Int], dims: [Int]) -> ReferenceArray {
    if type.isFloating {
      return ReferenceArray(type, dims, floats: places.map { floats[$0] })
    }
    return ReferenceArray(type, dims, integers: places.map { integers[$0] })
  }

  /// The same elements under other dimensions of the same count.
  package func reshaped(_ dims: [Int]) -> ReferenceArray {
    var result = ReferenceArray(type, dims)
    result.floats = floats
    result.integers = integers
    precondition(result.count == count, "reference: a reshape changed the count")
    return result
  }

  private init(_ type: ScalarType, _ dims: [Int]) {
    self.type = type
    self.dims = dims
  }

  /// Repeats the elements along new leading axes and axes of length 1, as NumPy does.
  package func broadcast(to target: [Int]) -> ReferenceArray {
    if dims == target { return self }
    let layout = LayoutTable.shared[LayoutTable.shared.intern(dims: dims)]
    guard let strides = layout.broadcastStrides(to: target) else {
      preconditionFailure("reference: \(dims) does not broadcast to \(target)")
    }
    return taking(Self.places(target, strides), dims: target)
  }
}
