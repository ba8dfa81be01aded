// A language model that learns a text character by character, and writes on in its style:
//     swift run -c release CharacterModel --checkpoint romeo.safetensors
// A run with a checkpoint goes on where the last one ended, to the same bits as one that was never
// interrupted. See Options.swift for what else can be said. Over several processes:
//     mpirun -n 4 .build/release/CharacterModel --checkpoint romeo.safetensors

import Foundation
import LazyGrad

/// A recurrent network over characters.
struct Network: Parameterized {
  let embedding: Embedding
  let cell: GRU
  let output: Dense
  /// What this rank's streams of the training have left after the last step. A constant is not trained, but belongs to
  /// the model: it is saved with it, and computed with the optimiser's step.
  let state: Tensor

  init(vocabulary: Int, streams: Int, _ options: Options) {
    let keys = RandomKey(options.seed).split(3)
    embedding = Embedding(vocabulary, options.width, dtype: .float32, key: keys[0])
    cell = GRU(options.width, options.width, dtype: .float32, key: keys[1])
    output = Dense(options.width, vocabulary, dtype: .float32, key: keys[2])
    state = .zeros([streams, options.width], dtype: .float32, constant: true)
  }

  /// Scores of what follows each of `[steps, streams]` characters, and the state after the last.
  func callAsFunction(_ characters: NDArray, state: Tensor?) -> (scores: Tensor, state: Tensor) {
    let (outputs, last) = cell(embedding(characters), state: state)
    return (output(outputs), last)
  }

  /// The mean loss in nats per character, where `targets` follow `characters`.
  func loss(
    _ characters: NDArray, _ targets: NDArray, state: Tensor?
  ) -> (loss: Tensor, state: Tensor) {
    let (scores, last) = self(characters, state: state)
    return (
      softmaxCrossEntropy(scores.reshaped(-1, scores.shape[2]), targets.reshaped([-1])), last
    )
  }
}

/// The state of all streams, those of other ranks included.
func wholeState(_ network: Network, _ world: Communicator) throws -> Tensor {
  let parts = try world.gather(network.state.snapshot)
  return concatenate(parts.map { Tensor(sharing: $0, constant: true) })
}

/// Trains until a number of steps have been made, from wherever the optimiser is. Each rank reads its own
/// streams; the gradients are the means over all. The loss of the last step.
func train(
  _ network: Network, _ optimizer: Adam, _ corpus: Corpus, _ options: Options,
  _ world: Communicator
) throws -> Double? {
  let steps = options.steps
  let own = world.part(of: options.streams)
  var last: Tensor?
  let progress =
    world.isRoot
    ? TrainingProgress(steps: steps, from: optimizer.stepCount, logEvery: 100) : nil
  while optimizer.stepCount < steps {
    let batch = corpus.batch(
      optimizer.stepCount, length: options.length, streams: options.streams, own: own)
    if batch.isStart { network.state[.ellipsis] = 0 }
    let (loss, state) = network.loss(batch.characters, batch.targets, state: network.state)
    noAutodiff { network.state.assign(state) }
    let gradients = gradients(of: loss, withRespectTo: network.parameters)
    let means = try world.mean([loss] + gradients, weight: Double(own.count))
    optimizer.step(Array(means.dropFirst()), clipping: .norm(1))
    last = means[0]
    progress?.update(loss: means[0].item(), rate: optimizer.rate)
    if optimizer.stepCount % 100 == 0 || optimizer.stepCount == steps, let file = options.checkpoint
    {
      let state = try wholeState(network, world)
      try world.onRoot {
        try Checkpoint(network, state: state, optimizer, corpus, options).write(to: file)
      }
    }
  }
  progress?.finish()
  return last?.item()
}

/// The mean loss over a text that was not trained on.
func evaluate(_ network: Network, _ codes: [Int]) -> Double {
  noAutodiff {
    var (sum, state) = (0.0, nil as Tensor?)
    for start in stride(from: 0, to: codes.count - 1, by: 128) {
      let count = min(128, codes.count - 1 - start)
      let (loss, last) = network.loss(
        NDArray(Array(codes[start..<start + count]), shape: [count, 1]),
        NDArray(Array(codes[start + 1...start + count]), shape: [count, 1]), state: state)
      eval(loss, last)
      sum += loss.item() * Double(count)
      state = last
    }
    return sum / Double(codes.count - 1)
  }
}

/// What the network writes on after a beginning. The key says which of the possible texts it is; a low
/// temperature makes likely characters likelier.
func sample(_ network: Network, _ corpus: Corpus, _ options: Options) -> String {
  noAutodiff {
    var written = corpus.codes(of: options.prompt)
    var (scores, state) = network(NDArray(written, shape: [written.count, 1]), state: nil)
    for i in 0..<options.sample {
      let chances = softmax(scores[-1, 0] / options.temperature).elements(as: Double.self)
      let key = RandomKey(options.key).folded(in: UInt64(i))
      let next = Tensor.choice(chances.count, [1], p: chances, key: key).item(as: Int.self)
      written.append(next)
      (scores, state) = network(NDArray([next], shape: [1, 1]), state: state)
    }
    return corpus.text(of: written)
  }
}

/// What a run prints.
func show(
  _ network: Network, _ optimizer: Adam, _ corpus: Corpus, _ options: Options, loss: Double?
) {
  func line(_ name: String, _ nats: Double) {
    print(name.padding(toLength: 32, withPad: " ", startingAt: 0), terminator: "")
    print(String(format: "%8.4f%8.4f", nats, nats / log(2)))
  }
  print(
    "text        \(corpus.name): \(corpus.count) characters, \(corpus.vocabulary.count) different")
  print("network     GRU of \(options.width), \(network.parameterCount) parameters")
  print("steps       \(optimizer.stepCount), each \(options.streams) streams of \(options.length)")
  print("\nper character                       nats    bits")
  line("how often each occurs, no more", corpus.entropy)
  if let loss { line("network, last step of training", loss) }
  line("network, text not trained on", evaluate(network, corpus.heldOut))
  print("\nsample with temperature \(options.temperature):")
  for line in sample(network, corpus, options).split(
    separator: "\n", omittingEmptySubsequences: false)
  {
    print("| \(line)")
  }
}

let options = Options(CommandLine.arguments)
do {
  let corpus = try Corpus(options)
  try Communicator.run { world in
    if world.size > options.streams {
      throw Unusable(
        description: "expected a stream for each of \(world.size) ranks, got \(options.streams)")
    }
    let own = world.part(of: options.streams)
    let network = Network(vocabulary: corpus.vocabulary.count, streams: own.count, options)
    let optimizer = Adam(network, rate: options.rate)
    // The file is read where it was written: other machines may not have it.
    var checkpoint: Checkpoint?
    try world.onRoot {
      if let file = options.checkpoint, FileManager.default.fileExists(atPath: file) {
        checkpoint = try Checkpoint(reading: file)
      }
    }
    try world.broadcast(checkpoint)?
      .restore(network, streams: own, optimizer, corpus, options)
    let loss = try train(network, optimizer, corpus, options, world)
    try world.onRoot { show(network, optimizer, corpus, options, loss: loss) }
  }
} catch { stop("\(error)", status: 1) }
