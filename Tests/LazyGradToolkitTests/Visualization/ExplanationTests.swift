// What an evaluation would do: the numbers are those of the operations, and nothing runs.

import Foundation
import LazyGrad
import Testing

@Suite("Explanation")
struct ExplanationTests {
  @Test("A fused loop: what it computes, its shape, memory, bytes and operations")
  func loop() {
    let x = Tensor(NDArray.ones([300, 40], dtype: .float32), constant: true)
    let y = (exp(x * 2) + 1).sum(axis: 1)
    let plan = y.explain()
    #expect(plan.kernels.count == 1 && plan.operationCount == 4)
    let kernel = plan.kernels[0]
    #expect(kernel.kind == .loop && kernel.shape == [300, 40])
    #expect(kernel.operations == ["multiply", "exp", "add", "sum of rows"])
    #expect(kernel.memoryRead == ["in0"] && kernel.memoryWritten == ["out0"])
    #expect(kernel.bytesRead == 300 * 40 * 4 && kernel.bytesWritten == 300 * 4)
    #expect(kernel.flops == 4 * 300 * 40)
    #expect(plan.buffers.map(\.name) == ["in0", "out0"])
    #expect(plan.buffers.map(\.shape) == [[300, 40], [300]])
    #expect(plan.buffers.map(\.byteCount) == [48000, 1200])
    #expect(
      kernel.code == (LazyGradEngine.instructionSet == "portable" ? .portable : .native))
    #expect(plan.instructionSet == LazyGradEngine.instructionSet)
    #expect(y.explain().kernels == plan.kernels && y.explain().isPlanKnown)
    y.eval()
    #expect(y.explain().kernels.isEmpty)
    #expect(y.explain().description == "Nothing to do: the value is there.\n")
  }

  @Test("A product of matrices says rows, columns and depth, and counts its operations")
  func product() throws {
    let a = Tensor(NDArray.ones([5, 20, 30], dtype: .float32))
    let b = Tensor(NDArray.ones([30, 40], dtype: .float32))
    let plan = relu(matmul(a, b)).explain()
    let kernel = try #require(plan.kernels.first { $0.kind == .product })
    #expect(kernel.shape[0] * kernel.shape[1] == 100 && kernel.shape[2] == 40)
    #expect(kernel.depths == [30])
    #expect(plan.flops == 2 * 100 * 40 * 30 + 100 * 40)
    #expect(kernel.operations.first == "matmul" && kernel.operations.last == "relu")
  }

  @Test(
    "Several tensors are one plan; temporaries have names; an update says whose memory it takes")
  func several() {
    let x = Tensor(NDArray.ones([20_000]), constant: true)
    let plan = explain(x + 1, x * 2)
    #expect(plan.kernels.count == 1 && plan.bytesRead == 160_000)
    #expect(plan.buffers.map(\.role) == [.input, .result, .result])
    // The sum of all must be there before it is used.
    let y = x / x.sum()
    let two = y.explain()
    #expect(two.kernels.count == 2)
    #expect(two.kernels[0].memoryWritten == ["tmp0"] && two.kernels[1].memoryRead.contains("tmp0"))
    #expect(two.temporaryBytes > 0)
    let w = Tensor(NDArray.zeros([100]), constant: true)
    w[0..<10] += 1.0
    #expect(w.explain().buffers.contains { $0.name == "out0" && $0.replaces != nil })
  }

  @Test("What is kept for a gradient, or held, is told from what was asked for")
  func kept() {
    let x = Tensor(NDArray.ones([50]))
    let y = exp(x * 2)
    let z = y.reshaped(5, 10).sum()
    let plan = z.explain()
    #expect(
      Set(plan.buffers.map { "\($0.role) \($0.shape)" }) == [
        "input [50]", "kept [50]", "result []",
      ])
    #expect(plan.description.contains("kept: computed on the way"))
    #expect(z.computationGraph().nodes.count == 5)
    #expect(y.reshaped(10, 5).explain().buffers.map(\.role) == [.input, .result])
  }

  @Test("The description is an aligned table with sums")
  func description() {
    let x = Tensor(NDArray.ones([1000, 32], dtype: .float32))
    let text = (x * 3).sum().explain().description
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines[0].hasPrefix("2 recorded operations in 1 kernel, each a pass over memory;"))
    #expect(lines[2].hasPrefix("kernel  computes"))
    #expect(lines[4].contains("multiply, sum of all") && lines[4].contains("128,000"))
    // Titles of numbers end where the numbers do.
    func end(_ word: String, _ line: Substring) -> Int? {
      line.range(of: word).map { line.distance(from: line.startIndex, to: $0.upperBound) }
    }
    #expect(end("bytes read", lines[2]) == end("128,000", lines[4]) && lines[6].hasPrefix("total"))
    #expect(text.contains("input") && text.contains("result") && text.contains("[1000, 32]"))
    for line in lines { #expect(line.last != " ") }
  }
}
