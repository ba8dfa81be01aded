// The table of differences from MyGrad that are meant.

import Foundation
import LazyGrad

/// Where LazyGrad differs from MyGrad on purpose: which cases, why, and what is right there instead.
struct Deviation: Sendable {
  /// What came out of a case.
  struct Outcome {
    let inputs: [[Double]]
    let options: JSON
    let result: NDArray
    let gradients: [[Double]?]
  }

  let operation: String
  let tag: String
  let reason: String
  let isRight: @Sendable (Outcome) -> Bool

  static let all: [Deviation] = [
    Deviation(
      operation: "abs", tag: "special", reason: "the gradient at not-a-number is not a number"
    ) { $0.gradients[0]!.allSatisfy(\.isNaN) },
    Deviation(
      operation: "relu", tag: "", reason: "a maximum with 0, not a product: relu(-inf) is 0, no -0"
    ) { outcome in
      let values = zip(outcome.inputs[0], outcome.result.elements(as: Double.self))
      return values.allSatisfy { x, y in
        x.isNaN ? y.isNaN : x > 0 ? y == x : y == 0 && y.sign == .plus
      }
    },
    Deviation(
      operation: "scalar_promotion", tag: "nep50", reason: "Swift numbers are weakly typed"
    ) { [.float16, .float32, .int32].contains($0.result.dtype) },
    Deviation(
      operation: "var", tag: "axis", reason: "nothing left to divide by: no exception"
    ) { $0.result.elements(as: Double.self).allSatisfy { !$0.isFinite } },
    Deviation(
      operation: "var", tag: "special", reason: "the rule goes through the mean, which is infinite"
    ) { outcome in
      let isSpecial = outcome.inputs[0].contains { !$0.isFinite }
      return isSpecial && outcome.gradients[0]!.allSatisfy(\.isNaN)
    },
    Deviation(
      operation: "prod", tag: "special",
      reason: "the gradient is the product of the others, whatever the whole product is; its order"
    ) { outcome in
      let x = outcome.inputs[0]
      guard let gradient = outcome.gradients[0] else {
        // In C order it overflows on the way.
        let digits = log10(outcome.result.elements(as: Double.self)[0])
        return abs(digits - x.reduce(0) { $0 + log10($1) }) < 1e-9
      }
      let others = x.indices.map { i in x.indices.reduce(1.0) { $1 == i ? $0 : $0 * x[$1] } }
      // The seed is the same for all.
      let pairs = Array(zip(gradient, others))
      let seeds = pairs.filter { $0.isFinite && $1.isFinite && $1 != 0 }.map { $0 / $1 }
      return pairs.allSatisfy { $0.isNaN == $1.isNaN && $0.isInfinite == $1.isInfinite }
        && seeds.allSatisfy { abs($0 / seeds[0] - 1) < 1e-12 }
    },
    Deviation(
      operation: "cbrt", tag: "special",
      reason: "x^2 underflows in MyGrad's gradient, y^2 does not here"
    ) { outcome in
      let (x, gradient) = (outcome.inputs[0][0], outcome.gradients[0]![0])
      return x != 0 && x * x == 0 && gradient.isFinite && gradient > 1e190
    },
    Deviation(
      operation: "logsoftmax", tag: "stability", reason: "log 2 is not lost beside 2e50"
    ) { outcome in
      let values = outcome.result.elements(as: Double.self)
      return values[3...4].allSatisfy { abs($0 + log(2)) < 1e-15 }
    },
    Deviation(
      operation: "absolute_rigorous", tag: "special",
      reason: "the gradient at not-a-number is not a number"
    ) { $0.inputs[0][0].isNaN && $0.gradients[0]![0].isNaN },
    Deviation(
      operation: "std", tag: "axis", reason: "nothing left to divide by: no exception"
    ) { $0.result.elements(as: Double.self).allSatisfy { !$0.isFinite } },
    Deviation(
      operation: "std", tag: "", reason: "the gradient is 0 where the deviation is"
    ) { outcome in
      let slopes = outcome.gradients[0]!
      return outcome.result.elements(as: Double.self).contains(0) && slopes.contains(0)
        && slopes.allSatisfy(\.isFinite)
    },
    Deviation(
      operation: "linalg.norm", tag: "", reason: "the gradient is 0 where an element or all are"
    ) { outcome in
      let pairs = zip(outcome.inputs[0], outcome.gradients[0]!)
      return pairs.allSatisfy { x, slope in x == 0 ? slope == 0 : slope.isFinite }
    },
    Deviation(
      operation: "sinc", tag: "special", reason: "next to 0 the difference in the gradient cancels"
    ) { outcome in
      // -pi^2 x / 3, by the seed; no larger than the corpus' own seeds are.
      let (x, slope) = (outcome.inputs[0][0], outcome.gradients[0]![0])
      return abs(x) <= 1e-5 && abs(slope) <= abs(x) * Double.pi * Double.pi / 3 && slope != 0
    },
    Deviation(
      operation: "sech", tag: "special", reason: "the gradient vanishes where the cosine overflows"
    ) { abs($0.inputs[0][0]) > 720 && $0.gradients[0]![0] == 0 },
    Deviation(
      operation: "csch", tag: "special", reason: "the gradient vanishes where the sine overflows"
    ) { abs($0.inputs[0][0]) > 720 && $0.gradients[0]![0] == 0 },
    Deviation(
      operation: "arccot", tag: "int", reason: "not cut off to whole numbers"
    ) { outcome in
      let values = zip(outcome.inputs[0], outcome.result.elements(as: Double.self))
      return values.allSatisfy { abs(atan(1 / $0) - $1) < 1e-15 }
    },
    Deviation(
      operation: "soft_sign", tag: "f32", reason: "Swift numbers are weakly typed"
    ) { outcome in
      let values = zip(outcome.inputs[0], outcome.result.elements(as: Double.self))
      return outcome.result.dtype == .float32
        && values.allSatisfy { abs($0 / (1 + abs($0)) - $1) < 1e-6 }
    },
    Deviation(
      operation: "soft_sign", tag: "f16", reason: "Swift numbers are weakly typed"
    ) { outcome in
      let values = zip(outcome.inputs[0], outcome.result.elements(as: Double.self))
      return outcome.result.dtype == .float16
        && values.allSatisfy { abs($0 / (1 + abs($0)) - $1) < 5e-4 }
    },
    Deviation(
      operation: "soft_sign", tag: "special", reason: "the gradient at infinity is 0"
    ) { $0.inputs[0][0].isInfinite && $0.gradients[0]![0] == 0 },
    // The seed is shared out evenly.
    Deviation(
      operation: "logaddexp", tag: "special", reason: "equal infinities have equal shares"
    ) { $0.inputs[0] == $0.inputs[1] && $0.gradients[0] == $0.gradients[1] },
    Deviation(
      operation: "logaddexp2", tag: "special", reason: "equal infinities have equal shares"
    ) { $0.inputs[0] == $0.inputs[1] && $0.gradients[0] == $0.gradients[1] },
  ]
}
