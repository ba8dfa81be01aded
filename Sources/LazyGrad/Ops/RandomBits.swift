// What random tensors are made of: bits of a key's stream as fractions, whole numbers and choices, in host
// arrays.

import Foundation
internal import LazyGradJIT

package enum RandomBits {
  // MARK: Fractions

  /// Fractions from 0 up to and without 1; `isOpen`: in the middle of equal parts, so that none is 0, and
  /// one may be rounded to 1.
  static func fractions(
    _ shape: [Int], _ dtype: DType, _ key: RandomKey, _ operation: String, isOpen: Bool = false
  ) throws(TensorError) -> NDArray {
    let result = try NDArray(uninitialized: shape, dtype: dtype, operation: operation)
    write(result.count, dtype, key, isOpen: isOpen, to: result.pointer)
    return result
  }

  private static func write(
    _ count: Int, _ dtype: DType, _ key: RandomKey, isOpen: Bool, to memory: UnsafeMutableRawPointer
  ) {
    if dtype == .float32 {
      let words = memory.bindMemory(to: UInt32.self, capacity: count)
      let done = Philox.fill(
        words, count, key: key.words, as: isOpen ? .openFractions32 : .fractions32)
      for i in done..<count {
        let word = words[i]
        let fraction =
          isOpen ? Float(word) * 0x1p-32 + 0x1p-33 : Float(Int32(word >> 8)) * 0x1p-24
        memory.storeBytes(of: fraction, toByteOffset: 4 * i, as: Float.self)
      }
    } else {
      let words = memory.bindMemory(to: UInt32.self, capacity: 2 * count)
      let done = Philox.fill(
        words, 2 * count, key: key.words, as: isOpen ? .openFractions64 : .fractions64)
      for i in done / 2..<count {
        let bits = memory.load(fromByteOffset: 8 * i, as: UInt64.self)
        let fraction = (Double(Int64(bits >> 11)) + (isOpen ? 0.5 : 0)) * 0x1p-53
        memory.storeBytes(of: fraction, toByteOffset: 8 * i, as: Double.self)
      }
    }
  }

  /// Fractions become numbers between bounds, the upper one left out where they differ.
  static func stretch(_ array: NDArray, from low: Double, to high: Double) {
    if low == 0, high == 1 { return }
    func stretch<T: BinaryFloatingPoint>(_: T.Type) {
      let values = UnsafeMutableRawPointer(array.pointer).assumingMemoryBound(to: T.self)
      let (first, last) = (T(low), T(high))
      let limit = last > first ? last.nextDown : last
      for i in 0..<array.count {
        values[i] = Swift.max(first, Swift.min(T(low + (high - low) * Double(values[i])), limit))
      }
    }
    if array.dtype == .float32 { stretch(Float.self) } else { stretch(Double.self) }
  }

  /// The numbers as the largest ones of a type that are not greater, and none less than the lower bound: those
  /// of 16 bits stand for all numbers up to the next, and the upper bound is left out still.
  static func narrowed(
    _ array: NDArray, _ dtype: DType, from low: Double, _ operation: String
  ) throws(TensorError) -> NDArray {
    if dtype == array.dtype { return array }
    let result = try NDArray(uninitialized: array.shape, dtype: dtype, operation: operation)
    let values = UnsafeMutableRawPointer(array.pointer).assumingMemoryBound(to: Float.self)
    let type = dtype.scalarType
    let first = type.roundedHalf(low)
    for i in 0..<array.count {
      let number = Swift.max(first, Double(values[i]))
      result.pointer.storeBytes(
        of: HalfFloat.floor(number, type), toByteOffset: 2 * i, as: UInt16.self)
    }
    return result
  }

  // MARK: Normally distributed numbers

  /// As many pairs of numbers take less time than a plan for them; tests set it.
  @TaskLocal package static var mostDirectPairs = 128

  /// Numbers by the method of Box and Muller, as `Tensor.normal` records it: from as many fractions for the
  /// lengths, none of them 0, as for the angles behind them.
  static func normals(
    _ shape: [Int], _ dtype: DType, _ key: RandomKey, _ mean: Double, _ std: Double
  ) throws(TensorError) -> NDArray {
    let result = try NDArray(uninitialized: shape, dtype: dtype, operation: "normal")
    if dtype == .float32 {
      fill(result, key, Float(mean), Float(std))
    } else {
      fill(result, key, mean, std)
    }
    return result
  }

  private static func fill<T: BinaryFloatingPoint>(
    _ result: NDArray, _ key: RandomKey, _ mean: T, _ std: T
  ) {
    let count = result.count
    let pairs = (count + 1) / 2
    let type = result.dtype.scalarType
    let z = UnsafeMutableRawPointer(result.pointer).assumingMemoryBound(to: T.self)
    // Kernels go on up to a multiple of eight.
    let padded = (pairs + 7) / 8 * 8
    withUnsafeTemporaryAllocation(byteCount: 4 * padded * type.size, alignment: 64) { work in
      guard let memory = work.baseAddress else { return }
      write(2 * pairs, result.dtype, key, isOpen: true, to: memory)
      let u = memory.bindMemory(to: T.self, capacity: 4 * padded)
      let lengths = u + 2 * padded
      let angles = lengths + padded
      (lengths + pairs).initialize(repeating: 1, count: padded - pairs)
      angles.initialize(repeating: 0, count: padded)
      func apply(_ function: Opcode, _ values: UnsafeMutablePointer<T>) {
        Tile.run(
          function, type: type, to: type, dst: values, a: values, b: nil, c: nil, count: pairs)
      }
      for i in 0..<pairs { lengths[i] = u[i] }
      apply(.log, lengths)
      for i in 0..<pairs { lengths[i] = (lengths[i] * -2).squareRoot() }
      // The sine is the cosine of the angle less a quarter.
      for half in 0..<2 {
        let start = half * pairs
        let quarter = half == 0 ? 0 : T(-0.5 * Double.pi)
        for i in 0..<pairs { angles[i] = u[pairs + i] * T(2 * Double.pi) + quarter }
        apply(.cos, angles)
        for i in 0..<min(pairs, max(count - start, 0)) {
          let both = angles[i] * lengths[i]
          z[start + i] = std == 1 && mean == 0 ? both : both * std + mean
        }
      }
    }
  }

  // MARK: Whole numbers

  /// 64 bits for each of some numbers.
  private static func words(
    _ count: Int, _ key: RandomKey, _ operation: String
  ) throws(TensorError) -> [UInt64] {
    try requireMemory(numbers: count, operation)
    return [UInt64](unsafeUninitializedCapacity: count) { buffer, filled in
      if let base = buffer.baseAddress {
        base.withMemoryRebound(to: UInt32.self, capacity: 2 * count) {
          Philox.fill($0, 2 * count, key: key.words)
        }
      }
      filled = count
    }
  }

  /// The part of a range that 64 bits name: as many of them name each to within one.
  private static func scaled(_ bits: UInt64, _ range: UInt64) -> UInt64 {
    bits.multipliedFullWidth(by: range).high
  }

  /// Whole numbers of a range that is not empty.
  static func integers(
    _ shape: [Int], _ low: Int, _ high: Int, _ key: RandomKey, _ operation: String
  ) throws(TensorError) -> NDArray {
    let result = try NDArray(uninitialized: shape, dtype: .int64, operation: operation)
    let count = result.count
    let memory = UnsafeMutableRawPointer(result.pointer)
    Philox.fill(
      memory.bindMemory(to: UInt32.self, capacity: 2 * count), 2 * count, key: key.words)
    // Of more than half of all numbers as well.
    let range = UInt64(bitPattern: Int64(high &- low))
    for i in 0..<count {
      let bits = memory.load(fromByteOffset: 8 * i, as: UInt64.self)
      let number = Int64(low) &+ Int64(bitPattern: scaled(bits, range))
      memory.storeBytes(of: number, toByteOffset: 8 * i, as: Int64.self)
    }
    return result
  }

  // MARK: Order and choice

  /// The first of the numbers below `count` in a random order, by the method of Fisher and Yates.
  static func permutation(
    _ count: Int, taking taken: Int, _ key: RandomKey, _ operation: String
  ) throws(TensorError) -> NDArray {
    if count < 0 {
      throw TensorError(operation: operation, message: "expected 0 or more, got \(count)")
    }
    let bits = try words(taken, key, operation)
    try requireMemory(numbers: count, operation)
    var numbers = Array(0..<count)
    for i in 0..<taken {
      numbers.swapAt(i, i + Int(scaled(bits[i], UInt64(count - i))))
    }
    return try NDArray.make(Array(numbers[..<taken]), shape: [taken], dtype: .int64)
  }

  /// Numbers below `count`, chosen at random.
  static func choice(
    _ count: Int, _ shape: [Int], _ replace: Bool, _ p: [Double]?, _ key: RandomKey
  ) throws(TensorError) -> NDArray {
    let layout = try NDArray.checkedLayout(shape, operation: "choice")
    let wanted = LayoutTable.shared[layout].count
    let possible = p.map { $0.filter { $0 > 0 }.count } ?? count
    if let message = misfit(count, wanted, possible, replace, p) {
      throw TensorError(operation: "choice", message: message)
    }
    if wanted == 0 { return NDArray.zeros(shape, dtype: .int64) }
    guard let p else {
      if replace { return try integers(shape, 0, count, key, "choice") }
      return try permutation(count, taking: wanted, key, "choice").reshaped(shape)
    }
    let chosen =
      replace
      ? try drawn(wanted, p, key) : try drawnOnce(wanted, p, key)
    return try NDArray.make(chosen, shape: shape, dtype: .int64)
  }

  /// What is wrong with a choice; nil where nothing is.
  private static func misfit(
    _ count: Int, _ wanted: Int, _ possible: Int, _ replace: Bool, _ p: [Double]?
  ) -> String? {
    if count < 0 { return "expected 0 or more to choose from, got \(count)" }
    if let p {
      if p.count != count { return "expected \(count) probabilities, got \(p.count)" }
      if let wrong = p.first(where: { !($0 >= 0) || !$0.isFinite }) {
        return "expected probabilities of 0 or more, got \(wrong)"
      }
    }
    if wanted > 0, possible == 0 { return "there is nothing to choose from" }
    if !replace, wanted > possible {
      return "expected at most \(possible) choices without replacement, got \(wanted)"
    }
    return nil
  }

  /// In proportion to `p`: where the sums of the first ones pass a fraction of the whole sum.
  private static func drawn(
    _ wanted: Int, _ p: [Double], _ key: RandomKey
  ) throws(TensorError) -> [Int] {
    var sums: [Double] = []
    var sum = 0.0
    for x in p {
      sum += x
      sums.append(sum)
    }
    return try words(wanted, key, "choice").map { bits in
      let place = Double(bits >> 11) * 0x1p-53 * sum
      var (low, high) = (0, p.count - 1)
      while low < high {
        let middle = (low + high) / 2
        if sums[middle] > place { high = middle } else { low = middle + 1 }
      }
      // Rounding may lead past the last that is possible.
      while p[low] == 0 { low -= 1 }
      return low
    }
  }

  /// The first to arrive, at rates `p`.
  private static func drawnOnce(
    _ wanted: Int, _ p: [Double], _ key: RandomKey
  ) throws(TensorError) -> [Int] {
    let bits = try words(p.count, key, "choice")
    let times = zip(bits, p).map { bits, rate in
      -log((Double(bits >> 11) + 0.5) * 0x1p-53) / rate
    }
    let order = p.indices.filter { p[$0] > 0 }.sorted { (times[$0], $0) < (times[$1], $1) }
    return Array(order[..<wanted])
  }
}
