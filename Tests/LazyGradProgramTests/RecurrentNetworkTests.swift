// A recurrent network that learns a sentence letter by letter and then says it.

import LazyGrad
import Testing

private struct Network {
  let embedding, recurrent, bias, readout: Tensor

  init(letters: Int, size: Int) {
    var noise = Noise(1)
    embedding = Tensor(noise.array(letters, size, scale: 0.5))
    recurrent = Tensor(noise.array(size, size, scale: 0.3))
    bias = Tensor.zeros([size])
    readout = Tensor(noise.array(size, letters, scale: 0.5))
  }

  var parameters: [Tensor] { [embedding, recurrent, bias, readout] }
  var start: Tensor { Tensor.zeros(like: bias) }

  func step(_ letter: Int, _ hidden: Tensor) -> Tensor {
    tanh(embedding[letter] + matmul(hidden, recurrent) + bias)
  }

  /// How badly each next letter is foretold.
  func loss(_ text: [Int]) -> Tensor {
    var hidden = start
    var states: [Tensor] = []
    for letter in text.dropLast() {
      hidden = step(letter, hidden)
      states.append(hidden)
    }
    return softmaxCrossEntropy(matmul(stack(states), readout), NDArray(Array(text.dropFirst())))
  }

  /// The likeliest letters after a first one.
  func say(_ first: Int, count: Int) -> [Int] {
    noAutodiff {
      var (hidden, said) = (start, [first])
      while said.count < count {
        hidden = step(said.last!, hidden)
        said.append(Int(matmul(hidden, readout).argmax()))
      }
      return said
    }
  }
}

@Suite struct RecurrentNetworkTests {
  @Test func learnsASentence() throws {
    let sentence = "to be or not to be, that is the question"
    let letters = Set(sentence).sorted()
    let text = sentence.map { letters.firstIndex(of: $0)! }

    let network = Network(letters: letters.count, size: 20)
    var losses: [Double] = []
    for _ in 0..<120 {
      let loss = network.loss(text)
      loss.backward()
      noAutodiff {
        for parameter in network.parameters { parameter -= 0.5 * parameter.gradient }
      }
      eval(network.parameters)
      losses.append(loss.item())
    }
    let said = network.say(text[0], count: text.count)

    #expect(String(said.map { letters[$0] }) == sentence)
    let fixture = try Fixture("recurrent_network")
    try fixture.expect(losses, "losses")
    try fixture.expect(said.map(Double.init), "said")
  }
}
