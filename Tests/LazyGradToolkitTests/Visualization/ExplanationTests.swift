// What an evaluation would do: the numbers are those of the operations, and nothing runs.

import LazyGrad
import Testing

@Suite("Explanation")
struct ExplanationTests {
  @Test("A fused loop: what it computes, its shape, memory, bytes and operations")
  func loop() {
    let x = Tensor(NDArray.ones([300, 40], dtype: .float32))
    let y = (exp(x * 2) + 1).sum(axis: 1)
    let before = LazyGradEngine.counters
    let plan = y.explain()
    let after = LazyGradEngine.counters
    #expect(before.kernelsRun == after.kernelsRun && before.bytesRead == after.bytesRead)
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

  @Test("The bytes are those that the counters count when it runs", arguments: 0..<4)
  func bytes(_ k: Int) {
    let a = Tensor(NDArray.ones([64, 48], dtype: .float32))
    let b = Tensor(NDArray.ones([48, 32], dtype: .float32))
    let values = [
      tanh(matmul(a, b) + 1), softmax(a, axis: 1).sum(axis: 0), concatenate(a, a + 1),
      matmul(exp(a), b).sum(),
    ]
    let plan = explain(values[k])
    let before = LazyGradEngine.counters
    values[k].eval()
    let after = LazyGradEngine.counters
    #expect(plan.bytesRead == after.bytesRead - before.bytesRead)
    #expect(plan.bytesWritten == after.bytesWritten - before.bytesWritten)
    #expect(plan.kernels.count == after.kernelsRun - before.kernelsRun)
    #expect(after.planMisses == before.planMisses && after.planHits == before.planHits + 1)
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
    let x = Tensor(NDArray.ones([200], dtype: .float64))
    let plan = explain(x.sum(), x * 2)
    #expect(plan.kernels.count == 1)
    #expect(plan.buffers.filter { $0.name.hasPrefix("out") }.count == 2)
    // The sum of all must be there before it is used.
    let y = x / x.sum()
    let two = y.explain()
    #expect(two.kernels.count == 2)
    #expect(two.kernels[0].memoryWritten == ["tmp0"] && two.kernels[1].memoryRead.contains("tmp0"))
    #expect(two.temporaryBytes > 0)
    let w = Tensor(NDArray.zeros([100]), constant: true)
    w[0..<10] += 1.0
    #expect(w.explain().buffers.contains { $0.replaces == "in0" })
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
    let end = lines[2].range(of: "bytes read")!.upperBound
    #expect(lines[4][..<end].hasSuffix("128,000") && lines[6].hasPrefix("total"))
    #expect(text.contains("input") && text.contains("result") && text.contains("[1000, 32]"))
    for line in lines { #expect(line.last != " ") }
  }
}
