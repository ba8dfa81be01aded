// Messages that end the program name its own line.

import LazyGrad
import Testing

#if os(Linux) && canImport(Glibc)
  /// What goes wrong, in functions: the bodies of exit tests are copied into what a macro writes, and have
  /// the lines of that.
  private enum Ending {
    static func operation() {
      let x = Tensor.zeros([2, 3])
      let y = x + Tensor.zeros([2])
      print(y.shape)
    }
    static let operationLine = #line - 3

    static func setter() {
      let x = NDArray([1.0, 2])
      try! x.setWriteable(false)
      x[0] = NDArray(5.0)
      print(x)
    }
    static let setterLine = #line - 3

    static func index() {
      let x = Tensor.zeros([2, 3])
      for k in 0..<3 {
        let y = x[0, k + 1] * 2
        print(y)
      }
    }
    static let indexLine = #line - 4

    /// A lack of memory shows where the value is computed.
    static func memory() {
      let x = Tensor.ones([1 << 19])
      LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 1 << 20)
      let y = x.broadcast(to: [16, 1 << 19]) * 2
      let z = y + x
      let values = z.array
      print(values.shape)
    }
    static let memoryLine = #line - 3
  }

  @Suite("Lines of ends of the program")
  struct ExitLineTests {
    /// Whether what a process wrote on standard error has a message that ends with a place in this file.
    private func says(_ result: ExitTest.Result?, _ text: String, at line: Int) -> Bool {
      String(decoding: result?.standardErrorContent ?? [], as: UTF8.self).split(separator: "\n")
        .contains {
          $0.contains("Fatal error: LazyGrad: \(text)") && $0.contains(" (at /")
            && $0.hasSuffix("/ExitLineTests.swift:\(line))")
        }
    }

    @Test("An operator")
    func operation() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) { Ending.operation() }
      #expect(says(result, "add: expected shapes", at: Ending.operationLine))
    }

    @Test("A setter of an array")
    func setter() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) { Ending.setter() }
      #expect(says(result, "subscript: the array is read-only", at: Ending.setterLine))
    }

    @Test("An index")
    func index() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) { Ending.index() }
      #expect(says(result, "subscript: index 3 is out of range", at: Ending.indexLine))
    }

    @Test("A lack of memory, where the value is read")
    func memory() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) { Ending.memory() }
      #expect(says(result, "array: no memory", at: Ending.memoryLine))
    }
  }
#endif
