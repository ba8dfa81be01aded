// Functions beyond the engine's own: values against Foundation and NumPy 2.4, errors in units of the last
// place, kinks, types, shapes without elements.

import Foundation
import LazyGrad
import Testing

@Suite("Families of functions")
struct FunctionFamilyTests {
  private static let inf = Double.infinity

  private func values(_ x: Tensor) -> [Double] { x.elements(as: Double.self) }

  private func gradient(_ x: [Double], _ f: (Tensor) -> Tensor) -> [Double] {
    let t = Tensor(x)
    f(t).backward()
    return values(t.grad!)
  }

  /// Equal, NaN to NaN, and by sign where zero.
  private func expectSame(_ a: [Double], _ b: [Double], _ what: String = "") {
    #expect(
      a.count == b.count
        && zip(a, b).allSatisfy { $0.isNaN ? $1.isNaN : $0 == $1 && $0.sign == $1.sign },
      "\(what): \(a), expected \(b)")
  }

  // MARK: Composites of elementary functions

  struct Accuracy: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// The bound that the documentation states.
    let bound: Double
    let range: ClosedRange<Double>
    let function: @Sendable (Tensor) -> Tensor
    #if arch(x86_64) && !os(Windows)
      let exact: @Sendable (Float80) -> Float80
    #endif
  }

  #if arch(x86_64) && !os(Windows)
    static let accuracies: [Accuracy] = [
      .init(testDescription: "arcsinh", bound: 4, range: -30...30, function: { arcsinh($0) }) {
        asinh($0)
      },
      .init(testDescription: "arcsinh, small", bound: 4, range: -1...1, function: { arcsinh($0) }) {
        asinh($0)
      },
      .init(testDescription: "arccosh", bound: 4, range: 1.01...30, function: { arccosh($0) }) {
        acosh($0)
      },
      .init(testDescription: "arctanh", bound: 4, range: -0.99...0.99, function: { arctanh($0) }) {
        atanh($0)
      },
      .init(testDescription: "sec", bound: 2.5, range: -9...9, function: { sec($0) }) {
        1 / cos($0)
      },
      .init(testDescription: "csc", bound: 2.5, range: -9...9, function: { csc($0) }) {
        1 / sin($0)
      },
      .init(testDescription: "cot", bound: 2.5, range: -9...9, function: { cot($0) }) {
        1 / tan($0)
      },
      .init(testDescription: "sech", bound: 2.5, range: -9...9, function: { sech($0) }) {
        1 / cosh($0)
      },
      .init(testDescription: "csch", bound: 2.5, range: -9...9, function: { csch($0) }) {
        1 / sinh($0)
      },
      .init(testDescription: "coth", bound: 2.5, range: -9...9, function: { coth($0) }) {
        1 / tanh($0)
      },
      .init(testDescription: "arcsec", bound: 3, range: 1.5...20, function: { arcsec($0) }) {
        acos(1 / $0)
      },
      .init(testDescription: "arccsc", bound: 3, range: 1.5...20, function: { arccsc($0) }) {
        asin(1 / $0)
      },
      .init(testDescription: "arccot", bound: 2.5, range: -20...20, function: { arccot($0) }) {
        atan(1 / $0)
      },
      .init(testDescription: "arccsch", bound: 6, range: -20...20, function: { arccsch($0) }) {
        asinh(1 / $0)
      },
      .init(testDescription: "arccoth", bound: 6, range: 1.5...20, function: { arccoth($0) }) {
        atanh(1 / $0)
      },
      .init(testDescription: "elu", bound: 2, range: -20 ... -0.01, function: { elu($0) }) {
        expm1($0)
      },
      .init(testDescription: "softSign", bound: 1.5, range: -20...20, function: { softSign($0) }) {
        $0 / (1 + abs($0))
      },
      .init(testDescription: "hypot", bound: 1, range: -20...20, function: { hypot($0, $0 * 3) }) {
        hypot($0, $0 * 3)
      },
    ]

    @Test(
      "Values are off by less than documented", arguments: accuracies, [DType.float64, .float32])
    func accuracy(_ entry: Accuracy, _ dtype: DType) {
      let width = entry.range.upperBound - entry.range.lowerBound
      let points = (0...20_000).map { entry.range.lowerBound + width * Double($0) / 20_000 }
      let x = Tensor(NDArray(points, shape: [points.count], dtype: dtype))
      // Products by whole numbers, in `hypot`, must be exact.
      var worst = (error: 0.0, at: 0.0)
      for (x, y) in zip(values(x), values(entry.function(x))) where x != 0 {
        if entry.testDescription == "hypot", dtype == .float64 ? x * 3 / 3 != x : false { continue }
        let exact = entry.exact(Float80(x))
        let unit = dtype == .float64 ? Double(exact).ulp : Double(Float(exact).ulp)
        let error = Double(Swift.abs(Float80(y) - exact)) / unit
        if !(error <= worst.error) { worst = (error, x) }
      }
      // The second operand of `hypot` is rounded itself.
      let bound = entry.testDescription == "hypot" ? entry.bound + 0.5 : entry.bound
      #expect(worst.error <= bound, "\(dtype), at \(worst.at)")
    }
  #endif

  @Test("Signs of zeros, infinities, borders of domains")
  func specialValues() {
    let inf = Self.inf
    expectSame(
      values(arcsinh(Tensor([-0.0, inf, -inf, 1e300]))), [-0.0, inf, -inf, 691.4686750787736])
    expectSame(values(arccosh(Tensor([1, 0.5, -3, inf]))), [0, .nan, .nan, inf])
    expectSame(values(arctanh(Tensor([-0.0, 1, -1, 2, inf]))), [-0.0, inf, -inf, .nan, .nan])
    expectSame(values(arccot(Tensor([0.0, -0.0]))), [.pi / 2, .pi / 2])
    expectSame(values(csc(Tensor([0.0]))) + values(coth(Tensor([inf]))), [inf, 1])
    expectSame(values(sech(Tensor([1000.0, Double.nan]))), [0, .nan])
    expectSame(
      values(hypot(Tensor([inf, 0, 3e200]), Tensor([Double.nan, 0, 4e200]))), [inf, 0, 5e200])
    expectSame(
      values(arctan2(Tensor([0, -0.0, 0, inf, 1]), Tensor([-1.0, -1, 0, -inf, -inf]))),
      [.pi, -.pi, 0, 3 * .pi / 4, .pi])
    #expect(Swift.abs(values(sinc(Tensor([0.5])))[0] - 2 / .pi) < 1e-15)
    #expect(values(sinc(Tensor([0.0]))) == [1])
  }

  @Test("Kinks")
  func kinks() {
    let inf = Self.inf
    #expect(gradient([1, -1]) { arcsin($0) } == [0, 0])
    #expect(gradient([1, -1]) { arccos($0) } == [0, 0])
    #expect(gradient([2]) { arcsin($0) }[0].isNaN)
    #expect(gradient([1, -1]) { arcsec($0) } == [0, 0])
    #expect(gradient([1, -1]) { arccsc($0) } == [0, 0])
    #expect(gradient([1]) { arccosh($0) } == [inf])
    #expect(gradient([1, -1]) { arctanh($0) } == [inf, inf])
    #expect(gradient([0]) { csc($0) + cot($0) } == [-inf])
    #expect(gradient([0]) { csch($0) } == [-inf])
    #expect(gradient([0]) { coth($0) } == [-inf])
    #expect(gradient([0, -0.0]) { sinc($0) } == [0, 0])
    #expect(Swift.abs(gradient([1e-9]) { sinc($0) }[0] + 3.2898681336964527e-9) < 1e-24)
    #expect(gradient([0, -2, 800]) { elu($0, alpha: 0.5) } == [1, 0.5 * Foundation.exp(-2), 1])
    #expect(gradient([0]) { selu($0) } == [1.0507009873554805])
    #expect(gradient([0, -1, 1]) { leakyRelu($0, slope: 0.5) } == [0, 0.5, 1])
    #expect(gradient([0]) { softSign($0) } == [1])
    #expect(gradient([-1, 0, 1]) { hardTanh($0) } == [0, 1, 0])
    #expect(gradient([0, 0]) { $0.norm() } == [0, 0])
    #expect(gradient([0, 3, -4]) { $0.norm(ord: 0.5) }[0] == 0)
    #expect(gradient([0, 0, 0]) { $0.norm(ord: 3) } == [0, 0, 0])
    #expect(gradient([2, 2]) { $0.std() } == [0, 0])
    let strict = gradient([0, -3, 2]) { abs($0, nanToNum: false) }
    #expect(strict[0].isNaN && Array(strict[1...]) == [-1, 1])
    #expect(gradient([0, 0]) { $0.norm(nanToNum: false) }.allSatisfy { $0.isNaN })
    let (a, b) = (Tensor([2.0, inf, 1]), Tensor([2.0, 1, -inf]))
    logaddexp(a, b).backward()
    #expect(values(a.grad!) == [0.5, 1, 1] && values(b.grad!) == [0.5, 0, 0])
    let origin = Tensor([0.0])
    arctan2(origin, Tensor([0.0])).backward()
    #expect(values(origin.grad!)[0].isNaN)
  }

  @Test("log(e^a + e^b) keeps what is small")
  func logaddexps() {
    #expect(
      values(logaddexp(Tensor([0.0, 1000]), Tensor([-40.0, 1000]))) == [
        Foundation.exp(-40), 1000 + Foundation.log(2),
      ])
    #expect(values(logaddexp2(Tensor([3.0, -inf]), Tensor([3.0, -inf]))) == [4, -inf])
    let x = Tensor([[1], [2]])
    let sum = logaddexp(x, Tensor([Float(1), 2, 3]))
    #expect(sum.shape == [2, 3] && sum.dtype == .float64)
  }
  private var inf: Double { Self.inf }

  // MARK: Rounding, signs, remainders

  @Test("Rounding is NumPy's")
  func rounding() {
    let inf = Self.inf
    let x: [Double] = [
      -2.5, -1.5, -0.5, -0.2, -0.0, 0, 0.5, 1.5, 2.5, 3.7, 4_503_599_627_370_497, inf, .nan,
    ]
    let tail = [4_503_599_627_370_497, inf, Double.nan]
    expectSame(values(rint(Tensor(x))), [-2, -2, -0.0, -0.0, -0.0, 0, 0, 2, 2, 4] + tail, "rint")
    expectSame(values(ceil(Tensor(x))), [-2, -1, -0.0, -0.0, -0.0, 0, 1, 2, 3, 4] + tail, "ceil")
    expectSame(values(trunc(Tensor(x))), [-2, -1, -0.0, -0.0, -0.0, 0, 0, 1, 2, 3] + tail, "trunc")
    let single = rint(Tensor([Float(2.5), -0.4, 8_388_609]))
    #expect(single.dtype == .float32 && single.elements(as: Float.self) == [2, 0, 8_388_609])
    #expect(ceil(Tensor([1, -2])).dtype == .int64 && trunc(Tensor([1.5])).isConstant)
  }

  @Test("Classification and signs")
  func classification() {
    let inf = Self.inf
    let x = Tensor([1, -0.0, 0, inf, -inf, Double.nan, -2])
    #expect(isFinite(x).elements(as: Bool.self) == [true, true, true, false, false, false, true])
    #expect(isInf(x).elements(as: Bool.self) == [false, false, false, true, true, false, false])
    #expect(signBit(x).elements(as: Bool.self) == [false, true, false, false, true, false, true])
    #expect(signBit(Tensor([-1, 0, 1])).elements(as: Bool.self) == [true, false, false])
    #expect(isFinite(Tensor([1, 2])).elements(as: Bool.self) == [true, true])
    #expect(isInf(Tensor([true])).elements(as: Bool.self) == [false])
    expectSame(
      values(copysign(Tensor([1, -2, 0, inf]), Tensor([-0.0, 1, -3, -1]))), [-1, 2, -0.0, -inf])
    let (a, b) = (Tensor([true, true, false, false]), Tensor([1, 0, 2, 0]))
    #expect(logicalXor(a, b).elements(as: Bool.self) == [false, true, true, false])
  }

  @Test("Division with a remainder is NumPy's")
  func remainders() {
    let inf = Self.inf
    let a = Tensor([7.0, -7, 7, -7, 1, 6, -6, 0.3, -1, 5])
    let b = Tensor([4.0, 4, -4, -4, 0.1, 2, 2, 0.1, inf, -inf])
    #expect(values(floorDivide(a, b)) == [1, -2, -2, 1, 9, 3, -3, 2, -1, -1])
    #expect(
      values(remainder(a, b)) == [
        3, 1, -1, -3, 0.09999999999999995, 0, 0, 0.09999999999999998, inf, -inf,
      ])
    #expect(
      values(fmod(a, b)) == [
        3, -3, 3, -3, 0.09999999999999995, 0, 0, 0.09999999999999998, -1, 5,
      ])
    expectSame(values(floorDivide(Tensor([1.0, -1, 0]), 0.0)), [inf, -inf, .nan])
    #expect(values(remainder(Tensor([1.0]), 0.0))[0].isNaN)
    let x = Tensor([7, -7, 7, -7, 1 << 62 + 1, Int.min, 9])
    let y = Tensor([4, 4, -4, -4, 3, 7, 0])
    #expect(
      floorDivide(x, y).elements(as: Int.self) == [
        1, -2, -2, 1, (1 << 62 + 1) / 3, -1_317_624_576_693_539_402, 0,
      ])
    #expect(remainder(x, y).elements(as: Int.self)[..<4] == [3, 1, -1, -3])
    #expect(remainder(x, y).elements(as: Int.self)[5...] == [6, 0])
    #expect(fmod(x, y).elements(as: Int.self)[5...] == [-1, 0])
    #expect(fmod(x, y).elements(as: Int.self)[..<4] == [3, -3, 3, -3])
    let bytes = Tensor(NDArray([250, 7, 3], dtype: .uint8))
    let quotient = floorDivide(bytes, 7)
    #expect(quotient.dtype == .uint8 && quotient.elements(as: Int.self) == [35, 1, 0])
    let numbers = (0..<500).map { Int(bitPattern: UInt($0) &* 0x9E37_79B9_7F4A_7C15) }
    let divisors = numbers.map { ($0 &* 31) >> (($0 & 63) as Int) | 1 }
    let found = floorDivide(Tensor(numbers), Tensor(divisors)).elements(as: Int.self)
    for k in numbers.indices {
      let (q, r) = numbers[k].quotientAndRemainder(dividingBy: divisors[k])
      let expected = r != 0 && (r < 0) != (divisors[k] < 0) ? q - 1 : q
      #expect(found[k] == expected, "\(numbers[k]) // \(divisors[k])")
    }
  }

  // MARK: Sums of many, losses

  @Test("Sums and products of several tensors")
  func sequences() {
    let x = (0..<4).map { Tensor([Double($0), 2]) }
    #expect(values(addSequence(x[0], x[1], x[2], x[3])) == [6, 8])
    multiplySequence(x[0], x[1], x[2], x[3]).backward()
    #expect(values(x[0].grad!) == [6, 8] && values(x[3].grad!) == [0, 8])
  }

  @Test("Sums and products of lists of tensors, also of one")
  func lists() {
    let x = (0..<4).map { Tensor([Double($0), 2]) }
    #expect(values(addSequence(x)) == [6, 8])
    multiplySequence(x).backward()
    #expect(values(x[0].grad!) == [6, 8] && values(x[3].grad!) == [0, 8])
    for one in [addSequence([x[1]]), multiplySequence([x[1]])] {
      #expect(one !== x[1] && values(one) == [1, 2])
    }
  }

  @Test("Losses by hand")
  func losses() {
    let x = Tensor([[1.0, 2, 0.5], [0, 1, 3]])
    let labels = NDArray([1, 0])
    #expect(values(negativeLogLikelihood(x, labels)) == [-1])
    #expect(values(negativeLogLikelihood(x, labels, weights: Tensor([2.0, 3, 1]))) == [-3])
    #expect(values(multiclassHinge(x, labels)) == [3])
    #expect(
      values(marginRankingLoss(x, x * 0, Tensor(1.0), margin: 1.5)) == [(0.5 + 1 + 1.5 + 0.5) / 6])
    let p = Tensor([[0.25, 0.75], [1.0, 0]])
    let loss = focalLoss(p, NDArray([1, 0]), alpha: 2.0, gamma: 0.5)
    #expect(Swift.abs(values(loss)[0] + 2 * 0.5 * Foundation.log(0.75)) < 1e-15)
    #expect(values(loss)[1] == 0)
    loss.backward()
    #expect(values(p.grad!)[2] == 0)
    let scores = Tensor([[1.0, 2, 0.5], [0, 1, 3]])
    let direct = values(focalLoss(softmax(scores), labels, gamma: 2))
    for (a, b) in zip(values(softmaxFocalLoss(scores, labels, gamma: 2)), direct) {
      #expect(Swift.abs(a - b) < 1e-14)
    }
  }

  // MARK: Shapes and errors

  @Test("Nothing, and scalars")
  func empty() {
    let nothing = Tensor.zeros([0, 3])
    for f in [
      { tan($0) }, { arcsinh($0) }, { sec($0) }, { sinc($0) }, { rint($0) }, { elu($0) },
      { logaddexp($0, $0) }, { remainder($0, $0) }, { arctan2($0, $0) }, { $0.cumsum(axis: 0) },
      { $0.cumprod(axis: 1) }, { $0.sorted() }, { $0.flipped() }, { $0.rolled(by: 1) },
      { hypot($0, $0) },
    ] as [(Tensor) -> Tensor] {
      let x = nothing + 0
      let y = f(x)
      #expect(y.shape == [0, 3] && y.count == 0)
    }
    for dtype in [DType.int64, .int32, .uint8, .bool] {
      let y = arcsinh(Tensor.zeros([2], dtype: dtype))
      #expect(y.dtype == .float64 && y.isConstant && values(y) == [0, 0])
    }
    #expect(sec(Tensor(0.0)).shape == [] && elu(Tensor(0.0)).item() == 0)
    let x = Tensor([Float(0.5)])
    arctanh(x).backward()
    #expect(x.grad!.dtype == .float32)
  }

  @Test("Bad input is named")
  func errors() {
    func message(_ body: () -> Tensor) -> String {
      do {
        _ = try catchingTensorErrors { body() }
        return "none"
      } catch { return "\(error)" }
    }
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    #expect(message { glu(x) }.contains("glu: expected an even length along axis -1"))
    #expect(message { logaddexp(x, Tensor([1.0, 2])) }.contains("logaddexp: expected shapes"))
    #expect(message { remainder(Tensor([1, 2, 3]), Tensor([1, 2])) }.contains("remainder"))
    #expect(message { addSequence(x) }.contains("addSequence: expected at least two"))
    #expect(message { multiplySequence([]) }.contains("multiplySequence: expected at least two"))
    #expect(message { multiclassHinge(x, NDArray([0, 3])) }.contains("label 3 is out of range"))
    #expect(message { focalLoss(x, NDArray([0, 1]), gamma: -1) }.contains("gamma"))
    #expect(
      message { negativeLogLikelihood(x, NDArray([0, 1]), weights: Tensor([1.0])) }
        .contains("a weight for each of 3 classes"))
    #expect(message { x.std(axis: 2) }.contains("std: axis 2 is out of range"))
    #expect(message { x.norm(axes: [0, 0]) }.contains("named twice"))
    #expect(message { softmax(x, axes: [3]) }.contains("softmax: axis 3"))
    #expect(message { x.cumsum(axis: 2) }.contains("cumsum: axis 2 is out of range"))
    #expect(message { split(x, 2, axis: 1)[0] }.contains("split"))
    #expect(message { x.padded([(1, 1)]) }.contains("padded: expected two widths"))
    #expect(message { x.repeated([1], axis: 0) }.contains("repeated"))
    #expect(message { x.takeAlong(NDArray([0])) }.contains("takeAlong"))
    #expect(message { x.take(NDArray([3]), axis: 1) } != "none")
    #expect(message { x.movedAxes(from: [0], to: [0, 1]) }.contains("movedAxes"))
    #expect(message { x.swappedAxes(0, 2) }.contains("swappedAxes"))
    #expect(message { x.rolled(by: [1], axes: [0, 1]) }.contains("rolled"))
  }
}
