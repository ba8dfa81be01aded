// Ways to make host arrays: from Swift values, filled, and evenly spaced. Uses NestedArray and
// ElementConversion.

internal import LazyGradJIT

extension NDArray {
  /// Makes an array from nested Swift arrays of any depth, or from one scalar.
  ///
  ///     NDArray([[1.0, 2.0], [3, 4]])           // shape [2, 2], float64
  ///     NDArray([1, 2, 3], dtype: .float32)     // shape [3], float32
  ///     NDArray(true)                           // shape [], bool
  ///
  /// The arrays of one level must have equal lengths, and `dtype` must be able to hold whole numbers that
  /// are given: 300 is no `uint8`. (`astype(_:)` wraps them around.)
  ///
  /// The element type is that of the Swift type unless `dtype` says otherwise.
  /// - Complexity: copies every element once.
  public convenience init<Values: NestedArray>(_ values: Values, dtype: DType? = nil) {
    let type = dtype ?? Values.Scalar.dtype
    self.init(
      sharing: Self.made(type) { () throws(TensorError) in try Self.make(values, dtype: type) })
  }

  /// An array from nested Swift arrays that are not ragged.
  static func make<Values: NestedArray>(
    _ values: Values, dtype: DType, operation: String = "NDArray"
  ) throws(TensorError) -> NDArray {
    var shape: [Int] = []
    values._appendShape(to: &shape)
    try values._check(shape: shape, axis: 0)
    return try make(shape, dtype, from: Values.Scalar.dtype, operation: operation) {
      var cursor = $0
      Values._store([values], to: &cursor)
    }
  }

  /// Makes an array from elements in C order and a shape.
  ///
  /// The number of elements must be that of the shape, and `dtype` must be able to hold whole numbers.
  ///
  /// The element type is that of the Swift type unless `dtype` says otherwise.
  /// - Complexity: copies every element once.
  public convenience init<Scalar: TensorScalar>(
    _ elements: [Scalar], shape: [Int], dtype: DType? = nil
  ) {
    let type = dtype ?? Scalar.dtype
    self.init(
      sharing: Self.made(type) { () throws(TensorError) in
        try Self.make(elements, shape: shape, dtype: type)
      })
  }

  /// An array from as many elements as its shape has.
  static func make<Scalar: TensorScalar>(
    _ elements: [Scalar], shape: [Int], dtype: DType
  ) throws(TensorError) -> NDArray {
    let layout = try checkedLayout(shape, operation: "NDArray")
    let expected = LayoutTable.shared[layout].count
    if elements.count != expected {
      throw TensorError(
        operation: "NDArray",
        message: "expected \(expected) elements for shape \(shape), got \(elements.count)")
    }
    return try make(shape, dtype, from: Scalar.dtype, operation: "NDArray") {
      var cursor = $0
      Scalar._store(elements, to: &cursor)
    }
  }

  /// Makes an array whose elements `body` writes, as bytes in C order: what a reader of files or a
  /// connection has.
  ///
  ///     let x = try NDArray(shape: [480, 640], dtype: .uint8) { bytes in try camera.read(into: bytes) }
  ///
  /// The memory is not initialised before, so `body` has to write all of it. Of truth values, bytes other
  /// than 0 become 1.
  ///
  /// - Throws: `TensorError` for a shape that no array can have, and where there is no memory: sizes often
  ///   come from outside, so they are not the program's error. What `body` throws.
  public convenience init(
    shape: [Int], dtype: DType,
    initializingWith body: (UnsafeMutableRawBufferPointer) throws -> Void
  ) throws {
    try self.init(uninitialized: shape, dtype: dtype, operation: "NDArray")
    let bytes = UnsafeMutableRawBufferPointer(start: pointer, count: count * dtype.size)
    try body(bytes)
    if dtype == .bool {
      for i in bytes.indices where bytes[i] > 1 { bytes[i] = 1 }
    }
  }

  /// Memory of `dtype`, filled through a temporary of `source` if the two differ.
  ///
  /// Whole numbers that integers of the type can't hold are an error, unless they shall wrap around.
  private static func make(
    _ shape: [Int], _ dtype: DType, from source: DType, operation: String, wraps: Bool = false,
    fill: (UnsafeMutableRawPointer) -> Void
  ) throws(TensorError) -> NDArray {
    let result = try NDArray(uninitialized: shape, dtype: dtype, operation: operation)
    if dtype == source {
      fill(result.pointer)
    } else {
      let values = try NDArray(uninitialized: shape, dtype: source, operation: operation)
      fill(values.pointer)
      if !wraps, let number = try values.misfit(dtype, operation) {
        throw TensorError(operation: operation, message: number)
      }
      ElementConversion.convert(
        from: values.pointer, source, to: result.pointer, dtype, count: result.count)
    }
    return result
  }

  /// An array of zeros (false for `bool`).
  public static func zeros(_ shape: [Int], dtype: DType = .float64) -> NDArray {
    made(dtype) { () throws(TensorError) in try cleared(shape, dtype, operation: "zeros") }
  }

  private static func cleared(
    _ shape: [Int], _ dtype: DType, operation: String
  ) throws(TensorError) -> NDArray {
    let result = try NDArray(uninitialized: shape, dtype: dtype, operation: operation)
    // Zero is all bits zero in every element type.
    result.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: result.count * dtype.size)
    return result
  }

  /// An array of ones (true for `bool`).
  public static func ones(_ shape: [Int], dtype: DType = .float64) -> NDArray {
    filled(shape, 1, dtype, operation: "ones")
  }

  /// An array with one value everywhere.
  ///
  /// The element type is that of the value unless `dtype` says otherwise.
  public static func full<Scalar: TensorScalar>(
    _ shape: [Int], _ value: Scalar, dtype: DType? = nil
  ) -> NDArray {
    filled(shape, value, dtype ?? Scalar.dtype, operation: "full")
  }

  private static func filled<Scalar: TensorScalar>(
    _ shape: [Int], _ value: Scalar, _ dtype: DType, operation: String
  ) -> NDArray {
    made(dtype) { () throws(TensorError) in
      let result = try NDArray(uninitialized: shape, dtype: dtype, operation: operation)
      try result.overwrite(with: make(value, dtype: dtype, operation: operation))
      return result
    }
  }

  /// The numbers 0, 1, 2, ... below `stop`: `arange(3.0)` is `[0., 1., 2.]`.
  ///
  /// The element type is that of `stop` unless `dtype` says otherwise.
  public static func arange<Scalar: TensorScalar>(_ stop: Scalar, dtype: DType? = nil) -> NDArray {
    range(from: 0.0, 0, to: stop, by: 1.0, 1, dtype: dtype ?? Scalar.dtype)
  }

  /// The numbers `start`, `start + step`, `start + 2 * step`, ... before `stop`.
  ///
  /// As in NumPy there are `ceil((stop - start) / step)` elements, and element `i` of a floating
  /// type is `start + i * delta`, where `delta` is what the rounded second element is away from
  /// the first; so the last one can reach `stop` by rounding. `linspace` names its end exactly.
  ///
  /// The element type is that of the arguments unless `dtype` says otherwise.
  public static func arange<Scalar: TensorScalar>(
    _ start: Scalar, _ stop: Scalar, _ step: Scalar, dtype: DType? = nil
  ) -> NDArray {
    range(
      from: start._double, start._int64, to: stop, by: step._double, step._int64,
      dtype: dtype ?? Scalar.dtype)
  }

  /// The numbers `start`, `start + 1`, ... before `stop`. Those that integers of `dtype` can't hold wrap
  /// around, but `start` must be one that they can.
  public static func arange<Scalar: TensorScalar>(
    _ start: Scalar, _ stop: Scalar, dtype: DType? = nil
  ) -> NDArray {
    range(
      from: start._double, start._int64, to: stop, by: 1.0, 1, dtype: dtype ?? Scalar.dtype)
  }

  private static func range<Scalar: TensorScalar>(
    from start: Double, _ intStart: Int64, to end: Scalar, by step: Double, _ intStep: Int64,
    dtype: DType
  ) -> NDArray {
    made(dtype) { () throws(TensorError) in
      try makeRange(from: start, intStart, to: end, by: step, intStep, dtype: dtype)
    }
  }

  private static func makeRange<Scalar: TensorScalar>(
    from start: Double, _ intStart: Int64, to end: Scalar, by step: Double, _ intStep: Int64,
    dtype: DType
  ) throws(TensorError) -> NDArray {
    if step == 0 {
      throw TensorError(operation: "arange", message: "expected a step other than 0")
    }
    guard Scalar.dtype.isFloating else {
      let first = WeakScalar(kind: .int, double: start, int: intStart)
      if let message = first.misfit(dtype) {
        throw TensorError(operation: "arange", message: message)
      }
      let length = integerLength(from: intStart, to: end._int64, by: intStep)
      return try evenlySpaced(length, Int64.self, dtype) { intStart &+ Int64($0) &* intStep }
    }
    let exact = ((end._double - start) / step).rounded(.up)
    guard exact < 0x1p62, !exact.isNaN else {
      throw TensorError(
        operation: "arange",
        message: "expected a finite number of elements, got \(start) to \(end) by \(step)")
    }
    let length = Int(max(exact, 0))
    if dtype.computing == .float32 {
      // In 16 bits the first two are rounded to those.
      let first = Float(dtype.scalarType.roundedHalf(start))
      let second = Float(dtype.scalarType.roundedHalf(start + step))
      let delta = second - first
      return try evenlySpaced(length, Float.self, dtype) {
        $0 == 1 ? second : first + Float($0) * delta
      }
    }
    let second = start + step
    let delta = second - start
    return try evenlySpaced(length, Double.self, dtype) {
      $0 == 1 ? second : start + Double($0) * delta
    }
  }

  /// `ceil((end - start) / step)` without rounding; 0 where the end lies behind.
  private static func integerLength(from start: Int64, to end: Int64, by step: Int64) -> Int {
    if step > 0 ? end <= start : end >= start { return 0 }
    let distance = (end > start ? end &- start : start &- end).magnitudeAsUnsigned
    let (quotient, remainder) = distance.quotientAndRemainder(dividingBy: step.magnitude)
    return Int(clamping: quotient + (remainder == 0 ? 0 : 1))
  }

  /// `count` numbers from `start` to `end`, evenly spaced.
  ///
  /// Computed in double precision: element `i` is `start + i * step`, and the last one is `end`
  /// itself if `endpoint` is true.
  ///
  /// - Parameters:
  ///   - start: the first number.
  ///   - end: the last one, or the one after it.
  ///   - count: how many there are.
  ///   - endpoint: whether `end` is the last element; if not, it would be the next one.
  ///   - dtype: the element type; integers are rounded down.
  public static func linspace(
    _ start: Double, _ end: Double, count: Int = 50, endpoint: Bool = true,
    dtype: DType = .float64
  ) -> NDArray {
    made(dtype) { () throws(TensorError) in
      if count < 0 {
        throw TensorError(
          operation: "linspace", message: "expected a count of at least 0, got \(count)")
      }
      let gaps = Double(endpoint ? count - 1 : count)
      let step = (end - start) / gaps
      return try evenlySpaced(count, Double.self, dtype) { i in
        var value = start
        if endpoint, i == count - 1, count > 1 {
          value = end
        } else if i > 0 {
          // A step that underflows would lose every element; then the division comes last.
          value += step == 0 ? Double(i) / gaps * (end - start) : Double(i) * step
        }
        return dtype.isFloating ? value : value.rounded(.down)
      }
    }
  }

  /// A matrix with ones on a diagonal and zeros elsewhere.
  ///
  /// - Parameters:
  ///   - rows: the number of rows.
  ///   - columns: the number of columns; by default that of the rows.
  ///   - dtype: the element type.
  ///   - diagonal: which diagonal: 0 is the main one, 1 the one above, -1 the one below.
  public static func eye(
    _ rows: Int, _ columns: Int? = nil, diagonal: Int = 0, dtype: DType = .float64
  ) -> NDArray {
    made(dtype) { () throws(TensorError) in
      try makeEye(rows, columns ?? rows, diagonal, dtype)
    }
  }

  private static func makeEye(
    _ rows: Int, _ columns: Int, _ diagonal: Int, _ dtype: DType
  ) throws(TensorError) -> NDArray {
    let result = try cleared([rows, columns], dtype, operation: "eye")
    // First row and column of the diagonal; clamped, so that no diagonal can overflow.
    let row = diagonal < 0 ? min(diagonal.magnitude, UInt(rows)) : 0
    let column = diagonal > 0 ? min(diagonal.magnitude, UInt(columns)) : 0
    let length = min(rows - Int(row), columns - Int(column))
    if length > 0 {
      let view = NDArray(
        storage: result.storage,
        layout: LayoutTable.shared.intern(dims: [length], strides: [columns + 1]),
        offset: Int(row) * columns + Int(column), dtype: dtype)
      try view.overwrite(with: make(1, dtype: dtype))
    }
    return result
  }

  private static func evenlySpaced<Scalar: TensorScalar>(
    _ count: Int, _: Scalar.Type, _ dtype: DType, _ element: (Int) -> Scalar
  ) throws(TensorError) -> NDArray {
    try make([count], dtype, from: Scalar.dtype, operation: "arange", wraps: true) {
      let target = $0.assumingMemoryBound(to: Scalar.self)
      for i in 0..<count { target[i] = element(i) }
    }
  }
}

extension NDArray {
  /// What is wrong with the elements, integers, as integers of another type; nil if nothing is.
  fileprivate func misfit(_ dtype: DType, _ operation: String) throws(TensorError) -> String? {
    guard let range = dtype.scalarType.range, let own = self.dtype.scalarType.range,
      own.clamped(to: range) != own
    else { return nil }
    let misfit = try copiedElements(as: Int64.self, operation: operation).first {
      !range.contains($0)
    }
    return misfit.map { "expected \(dtype.rangeText), got \($0)" }
  }
}

extension Int64 {
  /// The bits as an unsigned number: a difference that was taken with wrap-around.
  fileprivate var magnitudeAsUnsigned: UInt64 { UInt64(bitPattern: self) }
}
