// Updates through index arrays and masks: values as host arrays have them, gradients to the last
// write of each element, and nothing written but what is named.

import LazyGrad
import LazyGradJIT
import TestSupport
import Testing

@Suite("Updates through index arrays")
struct IndexedUpdateTests {
  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  @Test("Of several writes the last counts, and has the gradient")
  func duplicates() {
    let x = Tensor([[1.0, 2], [3, 4], [5, 6]])
    let v = Tensor([[10.0, 20], [30, 40], [50, 60]])
    let y = +x
    y[[2, 0, 2]] = v
    #expect(values(y) == [30, 40, 3, 4, 50, 60])
    (y * y).backward()
    #expect(values(x.grad!) == [0, 0, 6, 8, 0, 0])
    #expect(values(v.grad!) == [0, 0, 60, 80, 100, 120])
    let z = +x
    z[[1, 1, 1], [0, 1, 0]] += Tensor([1.0, 10, 100])
    #expect(values(z) == [1, 2, 103, 14, 5, 6])
  }

  @Test("A gradient that is infinite elsewhere does not leak into what was replaced")
  func masksGradients() {
    let x = Tensor([0.0, 4])
    let y = +x
    y[[0]] = Tensor(9.0)
    sqrt(y).backward()
    #expect(values(x.grad!) == [0, 0.25])
    let v = Tensor(0.0)
    let z = +Tensor([1.0, 1])
    z[[false, true]] = v
    (z * Tensor([Double.infinity, 3], constant: true)).backward()
    #expect(v.grad!.item() == 3)
  }

  @Test("An index that names nothing: the value has taken part, with gradient 0")
  func empty() {
    let x = Tensor([1.0, 2])
    let scalar = Tensor(7.0)
    let none = Tensor(NDArray([Double]()))
    let y = +x
    y[[Int]()] = scalar
    y[[false, false]] = none
    y.backward()
    #expect(values(y) == [1, 2] && values(x.grad!) == [1, 1])
    #expect(scalar.grad!.item() == 0 && none.grad!.shape == [0])
    let hollow = Tensor(NDArray.ones([3, 0]))
    hollow[[0, 2]] = scalar
    hollow.backward()
    #expect(hollow.shape == [3, 0] && scalar.grad!.item() == 0)
  }

  @Test("Values that come out of what changes are the old ones")
  func overlap() {
    let x = Tensor([1.0, 2, 3, 4])
    x[[0, 1, 2]] = x[1...]
    #expect(values(x) == [2, 3, 4, 4])
    x[[3, 0]] = x[[0, 3]]
    #expect(values(x) == [4, 3, 4, 2])
    let m = Tensor([[1.0, 2], [3, 4]])
    m[[1, 0]] = m
    m[[0, 1]] = m.transposed()
    #expect(values(m) == [3, 1, 4, 2])
  }

  @Test("Types are converted, and constants stay constants")
  func types() {
    let x = Tensor([1, 2, 3])
    x[[0, 2]] = Tensor([-1.7, 9.9])
    #expect(x.dtype == .int64 && x.elements(as: Int.self) == [-1, 2, 9] && x.isConstant)
    let y = Tensor(NDArray.zeros([3], dtype: .float32), constant: true)
    let v = Tensor([0.1, 0.2])
    y[[2, 1]] = v
    #expect(y.isConstant && y.elements(as: Float.self) == [0, 0.2, 0.1])
    let z = Tensor(NDArray.zeros([3], dtype: .float32))
    z[[2, 1]] = v
    (z * z).backward()
    #expect(v.grad!.dtype == .float64)
    #expect(values(v.grad!) == [Double(2 * Float(0.1)), Double(2 * Float(0.2))])
  }

  @Test("A refused update changes nothing: no value, no gradient, no version, no lock")
  func errors() {
    let host = NDArray([1.0, 2, 3])
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    let v = Tensor([1.0, 2])
    let row = x[0]
    (x.sum() + v.sum()).backward()
    let updates: [() -> Void] = [
      { x[[0, 2]] = v }, { x[[0, 1]] = v }, { x[[true, false, true]] = v },
      { x[[0, 1], [0, 1, 2]] = v }, { row[[0]] = v }, { x.broadcast(to: [2, 2, 3])[[0]] = v },
      { x[[0]] = Tensor(host, copy: false)[1...] }, { row[[3]] += v[0] },
    ]
    for (k, update) in updates.enumerated() {
      #expect(throws: TensorError.self, "update \(k)") { try catchingTensorErrors(update) }
      #expect(x.grad != nil && v.grad != nil && host.isWriteable, "update \(k)")
    }
    #expect(values(x) == [1, 2, 3, 4, 5, 6] && values(row) == [1, 2, 3])
    let fixed = NDArray([1.0, 2])
    try? fixed.setWriteable(false)
    let shown = Tensor(fixed, copy: false)
    #expect(throws: TensorError.self) { try catchingTensorErrors { shown[[0]] = Tensor(3.0) } }
    #expect(values(shown) == [1, 2])
  }

  @Test(
    "What an update leaves alone is what it was, where the old value stays",
    arguments: [DType.float32, .uint8])
  func pieces(_ dtype: DType) {
    for length in [1, 2, 7, 100] {
      let old = Tensor(NDArray((0..<length).map { Double($0 + 1) }, shape: [length], dtype: dtype))
      for start in Set([0, 1, length / 2, length - 1, length]) {
        for end in Set([start, start + 1, length]) where start <= end && end <= length {
          let x = +old
          x[start..<end] = Tensor(200.0).cast(to: dtype)
          let expected = (0..<length).map { start..<end ~= $0 ? 200.0 : Double($0 + 1) }
          #expect(values(x) == expected, "\(length): \(start) to \(end)")
        }
      }
      #expect(values(old) == (0..<length).map { Double($0 + 1) })
    }
    let table = Tensor(NDArray((0..<12).map(Double.init), shape: [4, 3], dtype: dtype))
    let rows = +table
    rows[1..<3] = Tensor([50.0, 51, 52]).cast(to: dtype)
    #expect(values(rows) == [0, 1, 2, 50, 51, 52, 50, 51, 52, 9, 10, 11])
    let columns = +table
    columns[.all, 1..<2] = Tensor(60.0).cast(to: dtype)
    #expect(values(columns) == [0, 60, 2, 3, 60, 5, 6, 60, 8, 9, 60, 11])
    // Of nothing, from a place that is behind it on.
    for shape in [[0, 3], [3, 0], [0]] {
      let empty = Tensor.zeros(shape, dtype: dtype)
      let copy = +empty
      if shape.count > 1 { copy[.all, (shape[1] - shape[1] / 3)...] = Tensor(1.0).cast(to: dtype) }
      copy[shape[0]...] = Tensor(1.0).cast(to: dtype)
      #expect(values(copy) == [] && copy.shape == shape)
    }
    // In C order of the result, not of the memory.
    let turned = +table.transposed()
    turned[1..<2] = Tensor(70.0).cast(to: dtype)
    #expect(values(turned) == [0, 3, 6, 9, 70, 70, 70, 70, 2, 5, 8, 11])
  }

  @Test("The memory is that of before where nobody needs the old value", arguments: [false, true])
  func memory(_ tracked: Bool) {
    let w = Tensor(NDArray.arange(600.0))
    func address() -> UnsafeMutablePointer<Double> {
      w.array.withUnsafeMutablePointer(to: Double.self) { $0 }
    }
    let start = address()
    let update = {
      w[[3, 5, 3]] = Tensor([1.0, 2, 30])
      w[[1, 2]] *= Tensor([10.0, 100])
      w.reshaped([2, 300]).transposed()[[4]] += 0.5
    }
    // Not in windows of a few operations: what a pending one reads keeps its memory.
    Tape.withLimits(.usual) {
      if tracked { update() } else { noAutodiff(update) }
      w.eval()
    }
    #expect(address() == start)
    #expect(values(w)[..<6] == [0, 10, 200, 30, 4.5, 2] && w[304].item() == 304.5)
    // Somebody needs it now.
    let old = +w
    let host = w.array
    w[[0]] = Tensor(-1.0)
    w.eval()
    #expect(address() != start && old[0].item() == 0 && host.elements(as: Double.self)[0] == 0)
  }

  // MARK: Random indices

  /// Index lists with arrays among them, for an array of some shape.
  private func indices(_ shape: [Int], _ random: inout SeededRandom) -> [any TensorIndex] {
    var result: [any TensorIndex] = []
    let count = random.int(0...3)
    var hasArray = false
    for (axis, length) in shape.enumerated() {
      switch random.int(0...6) {
      case 0 where axis == shape.count - 1: result.append(IndexComponent.ellipsis)
      case 0, 1: result.append(IndexComponent.all)
      case 2: result.append(random.int(-length...(length - 1)))
      case 3: result.append(IndexComponent.slice(step: random.pick([-1, 2, -2])))
      case 4 where count <= length:
        var mask = [Bool](repeating: false, count: length)
        while mask.count(where: { $0 }) < count { mask[random.int(0...(length - 1))] = true }
        result.append(mask)
        hasArray = true
      default:
        result.append(NDArray((0..<count).map { _ in random.int(-length...(length - 1)) }))
        hasArray = true
      }
    }
    if random.chance(0.2) { result.insert(IndexComponent.newAxis, at: 0) }
    return hasArray ? result : indices(shape, &random)
  }

  @Test("Random indices into random views agree with host arrays", arguments: 1...40)
  func random(_ seed: UInt64) {
    var random = SeededRandom(seed: seed)
    for _ in 0..<15 {
      let shape = (0..<random.int(1...3)).map { _ in random.int(1...4) }
      let count = shape.reduce(1, *)
      let x = Tensor(NDArray.arange(Double(count)).reshaped(shape))
      // For every element the number of the last write to it, plus 1.
      let writers = NDArray.zeros(shape, dtype: .int64)
      let base = +x
      var target = base
      var tags = writers
      for _ in 0..<random.int(0...2) {
        switch random.int(0...3) {
        case 0: (target, tags) = (target.transposed(), tags.transposed())
        case 1: (target, tags) = (target[.slice(step: -1)], tags[.slice(step: -1)])
        case 2: (target, tags) = (target[.slice(step: 2)], tags[.slice(step: 2)])
        default: (target, tags) = (target[.newAxis], tags[.newAxis])
        }
      }
      let list = indices(target.shape, &random)
      let shapeOfPart = tags[list: list].shape
      let written = shapeOfPart.reduce(1, *)
      let v = Tensor(NDArray((0..<written).map { 100 + Double($0) }, shape: shapeOfPart))
      #expect(target[list: list].shape == shapeOfPart)
      #expect(
        values(target[list: list])
          == target.array[list: list].elements(as: Double.self), "seed \(seed), \(list)")
      tags[list: list] = NDArray(Array(1..<(written + 1)), shape: shapeOfPart)
      let adds = random.chance(0.3)
      if adds { target[list: list] += v } else { target[list: list] = v }
      let weights = (0..<count).map { Double(($0 * 7 + 3) % 11) }
      (base * Tensor(NDArray(weights, shape: shape), constant: true)).backward()
      var expected = (0..<count).map(Double.init)
      var gradient = weights
      var gradientOfPart = [Double](repeating: 0, count: written)
      for (place, writer) in writers.elements(as: Int.self).enumerated() where writer > 0 {
        expected[place] = (adds ? expected[place] : 0) + 99 + Double(writer)
        if !adds { gradient[place] = 0 }
        gradientOfPart[writer - 1] = weights[place]
      }
      #expect(values(base) == expected, "seed \(seed), \(shape), \(list)")
      #expect(values(x.grad!) == gradient, "seed \(seed), \(shape), \(list)")
      #expect(values(v.grad!) == gradientOfPart, "seed \(seed), \(shape), \(list)")
    }
  }
}

extension Tensor {
  /// The subscript for lists that are made at run time, of up to four entries.
  fileprivate subscript(list i: [any TensorIndex]) -> Tensor {
    get {
      switch i.count {
      case 1: self[i[0]]
      case 2: self[i[0], i[1]]
      case 3: self[i[0], i[1], i[2]]
      case 4: self[i[0], i[1], i[2], i[3]]
      default: self[i[0], i[1], i[2], i[3], i[4]]
      }
    }
    set {
      switch i.count {
      case 1: self[i[0]] = newValue
      case 2: self[i[0], i[1]] = newValue
      case 3: self[i[0], i[1], i[2]] = newValue
      case 4: self[i[0], i[1], i[2], i[3]] = newValue
      default: self[i[0], i[1], i[2], i[3], i[4]] = newValue
      }
    }
  }
}

extension NDArray {
  /// The same for host arrays.
  fileprivate subscript(list i: [any TensorIndex]) -> NDArray {
    get {
      switch i.count {
      case 1: self[i[0]]
      case 2: self[i[0], i[1]]
      case 3: self[i[0], i[1], i[2]]
      case 4: self[i[0], i[1], i[2], i[3]]
      default: self[i[0], i[1], i[2], i[3], i[4]]
      }
    }
    set {
      switch i.count {
      case 1: self[i[0]] = newValue
      case 2: self[i[0], i[1]] = newValue
      case 3: self[i[0], i[1], i[2]] = newValue
      case 4: self[i[0], i[1], i[2], i[3]] = newValue
      default: self[i[0], i[1], i[2], i[3], i[4]] = newValue
      }
    }
  }
}
