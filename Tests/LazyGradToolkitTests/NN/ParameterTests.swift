// Names of tensors, and loading by name.

import Foundation
import LazyGrad
import Testing

@Suite("Parameters by name")
struct ParameterTests {
  private enum Choice {
    case none
    case dense(Dense)
    case pair(left: Tensor, right: Tensor)
  }

  private struct Plain {
    let weight: Tensor
    let note = "not a layer"
  }

  private struct Everything: Parameterized {
    let scale = Tensor(1.0)
    let dense = Dense(2, 3)
    let layers = [Dense(2, 2), Dense(2, 2, bias: false)]
    let some: Dense? = Dense(1, 1, bias: false)
    let none: Dense? = nil
    let noTensor: Tensor? = nil
    let optional: Tensor? = Tensor([1.0])
    let named = ["b": Dense(1, 1, bias: false), "a": Dense(1, 1, bias: false)]
    let any: [any Layer] = [Function(relu), Dense(1, 1, bias: false)]
    let pair = (Tensor(1.0), second: Tensor(2.0))
    let plain = Plain(weight: Tensor(3.0))
    let choices = [
      Choice.none, .dense(Dense(1, 1, bias: false)), .pair(left: Tensor(1.0), right: Tensor(2.0)),
    ]
    let nested = [[Tensor(1.0)], [], [Tensor(2.0), Tensor(3.0)]]
    let numbers = [Double](repeating: 0, count: 1_000_000)
    let texts = ["a", "b"]
    let function: (Tensor) -> Tensor = { $0 }
    let file = URL(filePath: "/tmp")
    let norm = BatchNorm(2)
    lazy var later = Tensor(4.0)
    var computed: Tensor { Tensor(5.0) }
    static let shared = 7
  }

  @Test("Names are those of properties, however tensors lie in them")
  func names() {
    var model = Everything()
    _ = model.later
    #expect(
      model.namedTensors.map(\.name) == [
        "scale", "dense.weight", "dense.bias", "layers.0.weight", "layers.0.bias",
        "layers.1.weight", "some.weight", "optional", "named.a.weight", "named.b.weight",
        "any.1.weight", "pair.0", "pair.second", "plain.weight", "choices.1.dense.weight",
        "choices.2.pair.left", "choices.2.pair.right", "nested.0.0", "nested.2.0", "nested.2.1",
        "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "later",
      ])
    #expect(model.namedParameters.count == 23)
    #expect(model.parameters.count == 23)
    #expect(Dense(3, 4).parameterCount == 16)
    // The tensors are the model's own.
    #expect(model.namedTensors[0].tensor === model.scale)
    #expect(model.namedTensors[3].tensor === model.layers[0].weight)
    #expect(model.tensorsByName["layers.0.weight"] === model.layers[0].weight)
    #expect(model.tensorsByName.count == 25)
  }

  private class Base: Parameterized {
    let first = Tensor(1.0)
    init() {}
  }

  private final class Node: Base {
    let second = Tensor(2.0)
    var parent: Node?
    var children: [Node] = []
    /// An object that is no layer.
    let other = JSONEncoder()
  }

  @Test("Objects, what they inherit, and circles of them")
  func objects() {
    let (root, child) = (Node(), Node())
    root.children = [child]
    child.parent = root
    #expect(
      root.namedTensors.map(\.name)
        == ["first", "second", "children.0.first", "children.0.second"])
    child.parent = nil
  }

  private struct Renamed: PlainLayer {
    let inner = Dense(2, 2)
    let hidden = Tensor(1.0)
    func callAsFunction(_ x: Tensor) -> Tensor { inner(x) }
    var namedTensors: [NamedTensor] {
      inner.namedTensors(under: "body.linear") + [("gain", hidden)]
    }
  }

  @Test("Names of one's own go before reflection, inside others too")
  func overriding() {
    struct Outer: Parameterized { let part = Renamed() }
    #expect(
      Outer().namedTensors.map(\.name)
        == ["part.body.linear.weight", "part.body.linear.bias", "part.gain"])
    #expect(Renamed().namedParameters.count == 3)
    let model = Sequential(Dense(2, 3), Function(relu), Sequential(Dense(3, 1)))
    #expect(
      model.namedTensors.map(\.name) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"])
    #expect([Tensor(1.0), Tensor(2.0)].namedTensors.map(\.name) == ["0", "1"])
    #expect(["b": Tensor(1.0), "a": Tensor(2.0)].namedTensors.map(\.name) == ["a", "b"])
  }

  // MARK: Loading

  @Test("Values are copied into the tensors that there are")
  func loading() throws {
    let (a, b) = (Dense(3, 2), Dense(3, 2, dtype: .float32))
    let weight = b.weight
    let row = weight[0]
    try b.load(a.tensorsByName)
    #expect(b.weight === weight)
    #expect(b.weight.dtype == .float32)
    #expect(weight.elements(as: Float.self) == a.weight.elements(as: Float.self))
    #expect(row.elements(as: Float.self) == a.weight[0].elements(as: Float.self))
    // They are copies: what happens to the source later is not seen.
    let before = b.snapshots
    noAutodiff { a.weight += 1 }
    #expect(b.snapshots == before)
    // Arrays do as well, and tensors can still be differentiated.
    try b.load(["weight": NDArray.ones([3, 2]), "bias": NDArray([1.0, 2])])
    #expect(b.bias?.elements == [1, 2])
    b(Tensor.ones([1, 3], dtype: .float32)).sum().backward()
    #expect(b.weight.gradient.elements == [1, 1, 1, 1, 1, 1])
  }

  @Test("Whole numbers are values of floats, floats not of whole numbers")
  func types() throws {
    let model = ["x": Tensor([1.0, 2]), "n": Tensor([1, 2])]
    try model.load(["x": Tensor([5, 6]), "n": Tensor([7, 8])])
    #expect(model["x"]?.elements == [5, 6])
    #expect(model["n"]?.elements(as: Int.self) == [7, 8])
    do {
      try model.load(["x": Tensor([1.0, 1]), "n": Tensor([1.5, 1])])
      Issue.record("loaded")
    } catch {
      #expect(error.description == "load: 'n': expected int64, got float64")
    }
    #expect(model["x"]?.elements == [5, 6])
  }

  @Test("Everything that does not fit is told, and nothing is loaded then")
  func errors() throws {
    let model = Sequential(Dense(2, 3), Dense(3, 1))
    let before = model.snapshots
    var wrong = Sequential(Dense(2, 3), Dense(4, 1)).tensorsByName
    wrong["0.bias"] = nil
    wrong["head.weight"] = Tensor(1.0)
    do {
      try model.load(wrong)
      Issue.record("loaded")
    } catch {
      #expect(error.missing == ["0.bias"])
      #expect(error.unexpected == ["head.weight"])
      #expect(error.mismatches.map(\.name) == ["1.weight"])
      #expect(
        error.description
          == "load: no value for '0.bias'; no tensor for 'head.weight'; "
          + "'1.weight': expected [3, 1], got [4, 1]")
    }
    #expect(model.snapshots == before)
    #expect(throws: ParameterError.self) {
      try model.load(wrong, allowsMissing: true, allowsUnexpected: true)
    }
    wrong["1.weight"] = Tensor.ones([3, 1])
    try model.load(wrong, allowsMissing: true, allowsUnexpected: true)
    #expect(model.parameters[2].elements == [1, 1, 1])
    #expect(model.snapshots["0.bias"] == before["0.bias"])
    #expect(throws: ParameterError.self) { try model.load(wrong, allowsMissing: true) }
    #expect(throws: ParameterError.self) { try model.load(wrong, allowsUnexpected: true) }
  }

  @Test("A tensor with two names is loaded by either")
  func twoNames() throws {
    struct Tied: Parameterized {
      let input: Tensor
      let output: Tensor
      init(_ tensor: Tensor) { (input, output) = (tensor, tensor) }
    }
    let model = Tied(Tensor([1.0]))
    #expect(model.namedTensors.count == 2)
    try model.load(["output": Tensor([2.0])])
    #expect(model.input.elements == [2])
    #expect(throws: ParameterError.self) { try model.load([String: Tensor]()) }
  }

  @Test("Copies of a layer share its tensors; loading makes one of its own")
  func copies() throws {
    let first = Dense(1, 1)
    let copy = first
    noAutodiff { first.weight.assign(Tensor(5.0)) }
    #expect(copy.weight.elements == [5])
    let own = Dense(1, 1)
    try own.load(first.snapshots)
    noAutodiff { first.weight.assign(Tensor(6.0)) }
    #expect(own.weight.elements == [5])
  }

  @Test("Snapshots of a model are coded and read again")
  func coding() throws {
    let model = Sequential(Dense(2, 3), BatchNorm(3))
    let data = try JSONEncoder().encode(model.snapshots)
    let other = Sequential(Dense(2, 3), BatchNorm(3))
    try other.load(JSONDecoder().decode([String: TensorSnapshot].self, from: data))
    #expect(other.snapshots == model.snapshots)
  }
}
