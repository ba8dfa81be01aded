// Errors name the program's own line, not the library's.

import Foundation
import LazyGrad
import Testing

@Suite struct ErrorLocationTests {
  /// The line where `error` calls its function.
  private static let helper = #line + 4

  private func error(_ body: () throws -> Void) -> TensorError? {
    do {
      try catchingTensorErrors(body)
      return nil
    } catch { return error as? TensorError }
  }

  /// Whether a line is where it was expected; on other systems than Linux there is none.
  private func isHere(_ error: TensorError?, line: Int) -> Bool {
    #if os(Linux) && canImport(Glibc)
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

  @Test("Where the library is inlined, generic or takes a list, in an expression over lines")
  func inlined() {
    let x = Tensor([[1.0, 2, 3], [4, 5, 6]])
    let y = Tensor([1.0, 2])
    var result: Tensor?
    let errors = [
      error { result = concatenate([x, y]) },
      error { result = concatenate(x, y, axis: 1) },
      error { result = stack([x, x, y]) },
      error { result = x[0, 5] },
      error { result = maximum(x, y) },
      error { result = `where`(x .> 1, y, 0) },
      error { result = pow(x, y) },
      error { x += y },
      error { x[0] = Tensor([1.0, 2]) },
      error { result = softmaxCrossEntropy(x, NDArray([0])) },
      error { x[0, 7] = 3.0 },
      error { result = y.sum() + x.transposed(0, 5) },
    ]
    let last = #line - 2
    for (i, error) in errors.enumerated() {
      #expect(isHere(error, line: last - errors.count + 1 + i), "\(i): \(error as Any)")
    }
    let over = error {
      result =
        (x * 2
        + x.reshaped([3, 2]))
        .sum()
    }
    // What follows is poisoned already.
    let lines = (#line - 5)...(#line - 3)
    #expect(lines.contains { isHere(over, line: $0) }, "\(over as Any) \(over?.location as Any)")
    _ = result
  }

  /// The optimiser puts it where it is called.
  @inline(__always) private func last(_ x: Tensor, _ k: Int) -> Tensor { x[k] }

  /// It stays a function, which ends with the call: a debug build still has it on the stack then.
  @inline(never) private func ended(_ x: Tensor, _ k: Int) -> Tensor { x.reshaped([k]) }

  /// The same for each type.
  @inline(never) private func generic(_ x: Tensor, _ y: some TensorOperand) -> Tensor {
    let sum = x + 1
    let product = sum * y
    return product + sum
  }

  @Test("Functions of the program that are inlined, that end with the call and that are generic")
  func functions() {
    let x = Tensor([1.0, 2])
    var result: Tensor?
    let line = #line
    let inner = error { result = last(x, 5).reshaped([1]).sum() }
    let end = error { result = ended(x, 5) }
    let product = error { result = generic(x, Tensor([1.0, 2, 3])) }
    let host = error { result = generic(x, NDArray([1.0, 2, 3])) }
    #expect(isHere(inner, line: line - 16))
    #expect(isHere(end, line: line - 13) || isHere(end, line: line + 2))
    #expect(isHere(product, line: line - 8) && isHere(host, line: line - 8))
    _ = result
  }

  @Test("Functions of the program that the library calls")
  func called() {
    let x = Tensor([1.0, 2], constant: false)
    let forward = error {
      _ = Tensor.composite(
        inputs: [x],
        forward: { inputs in
          let y = inputs[0] * 2
          return y + inputs[0].reshaped([3])
        },
        gradient: { upstream, _, _ in [upstream] }
      )
      .item()
    }
    #expect(isHere(forward, line: #line - 6), "\(forward?.location as Any)")
  }

  @Test("On another thread")
  func thread() {
    nonisolated(unsafe) var found: TensorError?
    let done = DispatchSemaphore(value: 0)
    let thread = Thread {
      let x = Tensor([1.0, 2])
      found = self.error { _ = x + Tensor([1.0, 2, 3]) }
      done.signal()
    }
    thread.start()
    done.wait()
    #expect(isHere(found, line: #line - 5))
  }

  @Test("Read again, by many tasks")
  func again() async {
    let all = (0..<20).compactMap { k in error { _ = Tensor([1.0, 2])[k + 2] } }
    let line = #line - 1
    #expect(all.count == 20)
    await withTaskGroup(of: [TensorError.Location?].self) { group in
      for _ in 0..<4 { group.addTask { all.map(\.location) } }
      for await places in group {
        #expect(Set(places).count == 1)
      }
    }
    #expect(all.allSatisfy { isHere($0, line: line) })
  }

  @Test("Functions that are alike: the line in one of them, or that of the call of it")
  func alike() {
    let x = Tensor([1.0, 2])
    let y = Tensor([3.0, 4])
    var result: Tensor?
    // The optimiser makes one function of these two, which has no lines then.
    let first = error { result = x[6] + 1 }
    let second = error { result = y[6] + 1 }
    #expect(isHere(first, line: #line - 2) || isHere(first, line: Self.helper))
    #expect(isHere(second, line: #line - 2) || isHere(second, line: Self.helper))
    _ = result
  }

  @Test("A lack of memory has the line that wanted the memory")
  func memory() {
    let lack = error { _ = NDArray.zeros([1 << 45]) }
    #expect(lack?.cause == .outOfMemory && isHere(lack, line: #line - 1))
  }
}
