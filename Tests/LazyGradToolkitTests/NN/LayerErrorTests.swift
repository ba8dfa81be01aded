// Errors of layers and optimisers name the program's own line, and end a program that does not catch them.

import Foundation
import LazyGrad
import Testing

/// A function of a program that checks its operands as the library does.
private func area(_ sides: Tensor) -> Tensor {
  if sides.isPoisoned { return sides }
  if sides.shape != [2] {
    return .failure("area", "expected two sides, got \(sides.shape)", operands: [sides])
  }
  return sides[0] * sides[1]
}

@Suite("Errors of layers")
struct LayerErrorTests {
  @Test("A function of one's own fails as the library's do")
  func ownFunction() {
    #expect(area(Tensor([2.0, 3])).item() == 6)
    let error = tensorError {
      let result = area(area(Tensor([1.0, 2, 3])))
      #expect(result.isPoisoned)
    }
    #expect(error?.description == "area: expected two sides, got [3]")
    #expect(error?.shapes == [[3]])
    #expect(error?.cause == .misuse)
  }

  @Test("The line is that of the program's call")
  func location() {
    let model = Sequential(Dense(2, 3), Function(relu), Dense(4, 1))
    let optimizer = SGD(["w": Tensor([1.0])], rate: 1)
    let x = Tensor.ones([1, 2])
    var y: Tensor?
    let errors = [
      (tensorError { y = model(x, training: true) }, #line),
      (tensorError { optimizer.step() }, #line),
    ]
    _ = y
    #expect(errors.map(\.0?.operation) == ["Dense(4, 1)", "SGD"])
    #if os(Linux) && canImport(Glibc)
      for (error, line) in errors {
        #expect(error?.location?.file.hasSuffix("/LayerErrorTests.swift") == true)
        #expect(error?.location?.line == line)
      }
    #endif
  }

  #if os(Linux) || os(macOS)
    @Test("A program that does not catch them ends with the message")
    func end() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        _ = Dense(4, 2)(Tensor.ones([3, 5]))
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(
        text.contains("LazyGrad: Dense(4, 2): expected inputs [..., 4], got [3, 5]"), "\(text)")
    }
  #endif
}
