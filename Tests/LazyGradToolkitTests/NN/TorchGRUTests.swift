// The gated recurrent unit of PyTorch: its outputs and gradients, and a layer that was trained there.

import Foundation
import LazyGrad
import Testing

@Suite("PyTorch's GRU")
struct TorchGRUTests {
  /// The layer of a state dictionary.
  private func layer(_ tensor: (String) throws -> Tensor) rethrows -> GRU {
    GRU(
      inputWeight: try tensor("weight_ih_l0"), stateWeight: try tensor("weight_hh_l0"),
      inputBias: try tensor("bias_ih_l0"), stateBias: try tensor("bias_hh_l0"))
  }

  @Test("Outputs and gradients are those of PyTorch")
  func torch() throws {
    let fixture = try #require(try TorchFixture.read().layers["gru"])
    let layer = layer(fixture.tensor)
    let x = fixture.input
    let y = layer(x)
    #expect(y.shape == fixture.yShape)
    expectClose(y.elements, fixture.y, within: 1e-12, "output")
    square(y).sum().backward()
    expectClose(x.gradient.elements, fixture.dx, within: 1e-10, "input")
    /// PyTorch has the parts of the gates one below the other: reset, update, new state.
    func check(_ name: String, _ parts: [Tensor]) {
      let wanted = fixture.gradient(name)
      let found = concatenate(parts.map { $0.gradient.T })
      expectClose(found.elements, wanted.elements, within: 1e-10, name)
    }
    check("weight_ih_l0", [layer.ur, layer.uz, layer.uh])
    check("weight_hh_l0", [layer.wr, layer.wz, layer.wh])
    check("bias_ih_l0", [layer.br, layer.bz, layer.bh])
    check("bias_hh_l0", [layer.br, layer.bz, try #require(layer.stateBias)])
  }

  @Test("A layer that was trained in PyTorch gives its outputs")
  func trained() throws {
    let fixture = try TorchFixture.read().trainedGRU
    let path = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../Fixtures/NN/gru.safetensors")
    let file = try SafeTensors(path)
    let layer = try layer { try file.tensor($0) }
    let x = Tensor(fixture.x, shape: [6, 2, 3], dtype: .float32)
    let (y, state) = layer(x, state: nil)
    #expect(y.dtype == .float32 && y.shape == [6, 2, 5])
    expectClose(y.elements(as: Double.self), fixture.y, within: 1e-5)
    expectClose(state.elements(as: Double.self), fixture.state, within: 1e-5)
    // The other form is another function.
    let other = GRU(3, 5, dtype: .float32)
    try other.load(layer.tensorsByName.filter { $0.key != "stateBias" })
    #expect(abs(other(x) - y).max().item() > 0.01)
  }

  @Test("Options, steps, and a state dictionary without biases")
  func forms() throws {
    let layer = GRU(3, 4, resetsAfterProduct: true, key: RandomKey(5))
    #expect(layer.namedParameters.map(\.name).contains("stateBias"))
    #expect(layer.namedParameters.count == 10 && GRU(3, 4).namedParameters.count == 9)
    // What is drawn for the other tensors is the same.
    #expect(layer.uh.elements == GRU(3, 4, key: RandomKey(5)).uh.elements)
    var noise = Noise(3)
    let x = noise.tensor(5, 2, 3)
    let y = layer(x)
    var state: Tensor?
    for t in 0..<5 {
      let next = layer.step(x[t], state: state)
      expectClose(next.elements, y[t].elements, within: 1e-12)
      state = next
    }
    let plain = GRU(inputWeight: noise.tensor(12, 3), stateWeight: noise.tensor(12, 4))
    #expect(plain.stateBias?.elements == [0, 0, 0, 0] && plain(x).shape == [5, 2, 4])
    let half = GRU(3, 4, resetsAfterProduct: true, dtype: .float16)
    #expect(half(x.cast(to: .float16)).dtype == .float16)
  }

  @Test("What does not fit is said")
  func errors() throws {
    let x = Tensor.ones([12, 3])
    let error = tensorError { _ = GRU(inputWeight: x, stateWeight: x) }
    #expect(error?.operation == "GRU")
    #expect(
      error?.message
        == "expected weights [3 D, C] and [3 D, D] and biases [3 D], got [12, 3], [12, 3], [9], [9]"
    )
  }
}
