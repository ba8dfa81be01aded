// Errors name the program's own line, not the library's.

import LazyGrad
import Testing

@Suite struct ErrorLocationTests {
  private func error(_ body: () throws -> Void) -> TensorError? {
    do {
      try catchingTensorErrors(body)
      return nil
    } catch { return error as? TensorError }
  }

  /// Whether a line is where it was expected; where the toolchain has no backtraces there is none.
  private func isHere(_ error: TensorError?, line: Int) -> Bool {
    #if os(Linux) && compiler(>=6.2)
      guard let place = error?.location else { return false }
      return place.file.hasSuffix("/ErrorLocationTests.swift") && place.line == line
        && place.description == "\(place.file):\(line)"
    #else
      return error != nil && error?.location == nil
    #endif
  }

  @Test("An operator, a method, an index and a function, each on a line of its own")
  func lines() {
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    let host = NDArray([1.0, 2])
    var result: Tensor?
    var array: NDArray?
    let errors = [
      error { result = x + Tensor([1.0, 2]) },
      error { result = x.reshaped([4, 4]).sum() },
      error { result = x[5] },
      error { array = host[7] },
      error { result = matmul(x, x) },
      error { result = x.sum(axis: 4) },
      error { result = Tensor([[1.0], [2, 3]]) },
    ]
    let last = #line - 2
    for (i, error) in errors.enumerated() {
      #expect(isHere(error, line: last - errors.count + 1 + i), "\(i): \(error as Any)")
    }
    _ = (result, array)
  }

  @Test("The first error of several, and one that was read later")
  func first() {
    let x = Tensor([1.0, 2])
    var bad: Tensor?
    let first = error {
      bad = x[3]
      _ = x.reshaped([5])
      _ = bad!.item()
    }
    #expect(isHere(first, line: #line - 4))
    // Read in a scope of its own, the tensor still says where it went wrong.
    let later = error { _ = bad!.item() }
    #expect(isHere(later, line: #line - 7))
    #expect(first == later)
  }

  @Test("In a function that the library calls, and in another task")
  func closures() async {
    let x = Tensor([1.0, 2])
    let mapped = error { _ = [1, 2, 7].map { x[$0 - 1] } }
    #expect(isHere(mapped, line: #line - 1))
    let task = Task {
      error { _ = Tensor([1.0, 2])[3] + 1 }
    }
    #expect(isHere(await task.value, line: #line - 2))
  }

  @Test("The message stays as it is, equality leaves the line out, and printing looks for none")
  func texts() {
    let first = error { _ = Tensor([1.0, 2])[3] }
    let second = error { _ = Tensor([1.0, 2])[3] }
    #expect(first == second)
    let text = "subscript: index 3 is out of range for axis 0 with length 2"
    #expect("\(first!)" == text && String(reflecting: first!) == text)
    let labels = Mirror(reflecting: first!).children.map(\.label)
    #expect(labels == ["operation", "message", "shapes", "cause"])
  }

  @Test("A lack of memory has no line")
  func memory() {
    let lack = error { _ = NDArray.zeros([1 << 45]) }
    #expect(lack?.cause == .outOfMemory && lack?.location == nil)
  }
}
