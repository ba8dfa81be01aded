// The elementary functions of one operand as a program calls them, and as the tests check them: the one
// entry that a new one needs here.

import Foundation
import LazyGrad
import LazyGradJIT

/// A public elementary function.
package struct UnaryFunction: Sendable, CustomStringConvertible {
  #if arch(x86_64)
    package typealias Wide = Float80
  #else
    package typealias Wide = Double
  #endif

  package let opcode: Opcode
  package let call: @Sendable (Tensor) -> Tensor
  /// The same with the result stored in a tensor; nil where there is no such form.
  package let store: (@Sendable (Tensor, Tensor) -> Tensor)?
  /// The function with more digits than a double has.
  package let precise: @Sendable (Wide) -> Wide

  package var name: String { opcode.info.name }
  package var description: String { name }
  /// What the table of operations says of it.
  package var function: any ElementaryFunction.Type { opcode.info.function! }

  /// A cube root without the error of the C library's, which is above 3 ULP for doubles with some glibc.
  private static func cubeRoot(_ x: Wide) -> Wide {
    #if arch(x86_64)
      return cbrt(x)
    #else
      // So that no square is below the smallest number.
      if abs(x) < 0x1p-600 { return abs(x) > 0 ? cubeRoot(x * 0x1p600) * 0x1p-200 : x }
      let root = cbrt(x)
      if !root.isFinite { return root }
      // A step of Newton's method with the cube to twice the digits.
      let square = root * root
      let squareRest = (-square).addingProduct(root, root)
      let cube = square * root
      let cubeRest = (-cube).addingProduct(square, root)
      let residual = (cube - x) + (cubeRest + squareRest * root)
      return root - residual / (3 * square)
    #endif
  }

  private init(
    _ opcode: Opcode, _ call: @escaping @Sendable (Tensor) -> Tensor,
    out store: (@Sendable (Tensor, Tensor) -> Tensor)? = nil,
    precise: @escaping @Sendable (Wide) -> Wide
  ) {
    self.opcode = opcode
    self.call = call
    self.store = store
    self.precise = precise
  }

  package static let all: [UnaryFunction] = [
    .init(.exp, { exp($0) }, out: { exp($0, out: $1) }) { exp($0) },
    .init(.expm1, { expm1($0) }, out: { expm1($0, out: $1) }) { expm1($0) },
    .init(.log, { log($0) }, out: { log($0, out: $1) }) { log($0) },
    .init(.log1p, { log1p($0) }, out: { log1p($0, out: $1) }) { log1p($0) },
    .init(.cbrt, { cbrt($0) }, out: { cbrt($0, out: $1) }) { cubeRoot($0) },
    .init(.exp2, { exp2($0) }, out: { exp2($0, out: $1) }) { exp2($0) },
    .init(.log2, { log2($0) }, out: { log2($0, out: $1) }) { log2($0) },
    .init(.log10, { log10($0) }, out: { log10($0, out: $1) }) { log10($0) },
    .init(.tan, { tan($0) }, out: { tan($0, out: $1) }) { tan($0) },
    .init(.arcsin, { arcsin($0) }, out: { arcsin($0, out: $1) }) { asin($0) },
    .init(.arccos, { arccos($0) }, out: { arccos($0, out: $1) }) { acos($0) },
    .init(.arctan, { arctan($0) }, out: { arctan($0, out: $1) }) { atan($0) },
    .init(.sinh, { sinh($0) }, out: { sinh($0, out: $1) }) { sinh($0) },
    .init(.cosh, { cosh($0) }, out: { cosh($0, out: $1) }) { cosh($0) },
    .init(.sin, { sin($0) }, out: { sin($0, out: $1) }) { sin($0) },
    .init(.cos, { cos($0) }, out: { cos($0, out: $1) }) { cos($0) },
    .init(.tanh, { tanh($0) }, out: { tanh($0, out: $1) }) { tanh($0) },
    .init(.sigmoid, { sigmoid($0) }) { x in
      // What is small is e^x: its reciprocal overflows where numbers have no more exponents than a double.
      let small = exp(-abs(x))
      return (x < 0 ? small : 1) / (1 + small)
    },
    .init(.erf, { erf($0) }) { erf($0) },
    .init(.lgamma, { lgamma($0) }) { x in
      let (value, _): (Wide, Int) = Foundation.lgamma(x)
      return value
    },
  ]
}
