// The training run: a character-level language model learns a real text, as a user would write it
// with LazyGrad's public interface. Also the end-to-end check that learning works at all.

import Foundation
import LazyGrad

/// A recurrent network over characters: `h = tanh(E[c] + h @ Wh + b)` or the formulas of another
/// cell, `logits = h @ Wo + bo`.
///
/// The first layer's product with a one-hot vector is a row of its matrix, so rows are gathered.
struct CharacterModel {
  let hidden: Int
  private let cell: Cell
  /// For every gate embedding, hidden weights and bias; then output weights, output bias.
  fileprivate(set) var parameters: [Tensor]

  init(vocabulary: Int, hidden: Int, cell: Cell, random: inout RandomState) {
    self.hidden = hidden
    self.cell = cell
    let scale = 1 / Double(hidden).squareRoot()
    func normal(_ rows: Int, _ columns: Int, _ scale: Double) -> Tensor {
      Tensor(
        NDArray(random.normals(rows * columns) { $0 * scale }, shape: [rows, columns]))
    }
    func full(_ count: Int, _ value: Float) -> Tensor {
      Tensor(NDArray([Float](repeating: value, count: count), shape: [count]))
    }
    parameters = []
    for gate in 0..<cell.gateCount {
      // A memory that begins by forgetting learns nothing of what lies further back (Jozefowicz,
      // Zaremba and Sutskever, 2015).
      let bias: Float = gate == cell.forgetGate ? 1 : 0
      parameters += [
        normal(vocabulary, hidden, 0.3), normal(hidden, hidden, 0.9 * scale), full(hidden, bias),
      ]
    }
    parameters += [normal(hidden, vocabulary, scale), full(vocabulary, 0)]
  }

  /// A state of zeros for some streams.
  func initialState(batch: Int) -> RecurrentState {
    let zeros = NDArray([Float](repeating: 0, count: batch * hidden), shape: [batch, hidden])
    return RecurrentState(cell, startingAt: Tensor(zeros, constant: true))
  }

  /// The state after one more character of every stream.
  func step(_ state: RecurrentState, _ characters: NDArray) -> RecurrentState {
    state.next(cell) { gate, h in
      parameters[3 * gate].takeRows(characters) + matmul(h, parameters[3 * gate + 1])
        + parameters[3 * gate + 2]
    }
  }

  func logits(_ states: Tensor) -> Tensor {
    matmul(states, parameters[parameters.count - 2]) + parameters[parameters.count - 1]
  }

  /// The mean loss over all characters of a training step and the last state.
  ///
  /// `inputs` is `[length, batch]`, `targets` is `[length * batch]`.
  func loss(
    _ inputs: NDArray, _ targets: NDArray, length: Int, from state: RecurrentState
  ) -> (loss: Tensor, state: RecurrentState) {
    var state = state
    var states: [Tensor] = []
    for time in 0..<length {
      state = step(state, inputs[time])
      states.append(state.hidden)
    }
    return (softmaxCrossEntropy(logits(concatenate(states, axis: 0)), targets), state)
  }
}

/// Adam (Kingma and Ba, 2015) behind clipping of the gradients' common norm, in tensor operations:
/// nothing is computed before the caller evaluates the step.
struct Adam {
  private let rate = 3e-3
  private let decay = (first: 0.9, second: 0.99)
  private let epsilon = 1e-8
  private let largestNorm = Tensor(NDArray([Float(1)], shape: []), constant: true)
  private var first: [Tensor]
  private var second: [Tensor]
  private var steps = 0

  init(_ parameters: [Tensor]) {
    func zeros() -> [Tensor] {
      parameters.map { parameter in
        let count = parameter.shape.reduce(1, *)
        return Tensor(
          NDArray([Float](repeating: 0, count: count), shape: parameter.shape), constant: true)
      }
    }
    first = zeros()
    second = zeros()
  }

  /// What has to be evaluated along with the parameters.
  var moments: [Tensor] { first + second }

  /// Records the update of every parameter by its gradient.
  mutating func update(_ parameters: inout [Tensor]) {
    steps += 1
    let gradients = parameters.map { $0.grad! }
    // The bias corrections are numbers that change every step; they are no part of a plan's key.
    let firstShare = 1 - pow(decay.first, Double(steps))
    let secondShare = 1 - pow(decay.second, Double(steps))
    noAutodiff {
      var square = (gradients[0] * gradients[0]).sum()
      for gradient in gradients.dropFirst() { square = square + (gradient * gradient).sum() }
      let scale = largestNorm / maximum(sqrt(square), largestNorm)
      for index in parameters.indices {
        let gradient = gradients[index] * scale
        first[index] *= decay.first
        first[index] += gradient * (1 - decay.first)
        second[index] *= decay.second
        second[index] += gradient * gradient * (1 - decay.second)
        parameters[index] -=
          first[index] * (rate / firstShare) / (sqrt(second[index] / secondShare) + epsilon)
      }
    }
  }
}

/// The `train` command.
struct TrainingRun {
  let corpus: TextCorpus
  let options: Options
  let report: Report

  func run(steps: Int, seconds: Double) throws(BenchError) {
    let (length, batch) = (options.length, options.batch)
    var random = RandomState(seed: 1)
    var model = CharacterModel(
      vocabulary: corpus.vocabulary.count, hidden: options.hidden, cell: options.cell,
      random: &random)
    var optimizer = Adam(model.parameters)
    var streams = TextStreams(corpus, length: length, batch: batch)
    var state = model.initialState(batch: batch)
    report.line("Character-level language model on \(corpus.name)")
    report.line(
      "characters: \(corpus.codes.count), vocabulary: \(corpus.vocabulary.count), hidden:"
        + " \(options.hidden), cell: \(options.cell.rawValue), length: \(length), batch: \(batch)")

    var smoothed = SmoothedLoss()
    var times = Samples()
    var done = 0
    let start = now()
    var shown = start
    while done < steps, done == 0 || Double(now() - start) < seconds * 1e9 {
      let begin = now()
      let chunk = streams.next()
      if chunk.isRestart { state = model.initialState(batch: batch) }
      let (loss, last) = model.loss(
        NDArray(chunk.inputs, shape: [length, batch]),
        NDArray(chunk.targets, shape: [length * batch]), length: length, from: state)
      loss.backward()
      optimizer.update(&model.parameters)
      eval([loss] + last.tensors + model.parameters + optimizer.moments)
      state = last.withoutHistory
      let value = loss.item()
      guard value.isFinite else {
        throw .wrongResult("train: the loss is \(value) at step \(done + 1)")
      }
      smoothed.add(value)
      done += 1
      let end = now()
      times.values.append(Double(end - begin))
      if Double(end - shown) > report.progressInterval * 1e9 {
        shown = end
        let speed = Double(done * length * batch) / (Double(end - start) / 1e9)
        report.progress(
          "train: step \(done) of \(steps), loss \(Format.fixed(smoothed.value, 3)),"
            + " \(Format.fixed(smoothed.value / log(2), 3)) bits per character,"
            + " \(Int(speed)) characters/s")
      }
    }
    let elapsed = Double(now() - start) / 1e9
    finish(model, smoothed.value, times, steps: done, wanted: steps, elapsed: elapsed)
  }

  private func finish(
    _ model: CharacterModel, _ loss: Double, _ times: Samples, steps: Int, wanted: Int,
    elapsed: Double
  ) {
    let entropy = corpus.unigramEntropy
    let speed = Double(steps * options.length * options.batch) / elapsed
    report.line(
      "steps: \(steps)\(steps < wanted ? " (stopped by the time)" : "") in"
        + " \(Format.fixed(elapsed, 1)) s, \(Format.fixed(speed, 0)) characters/s,"
        + " median \(Format.microseconds(times.median)) us and minimum"
        + " \(Format.microseconds(times.minimum)) us per step")
    report.line(
      "unigram entropy of the text: \(Format.fixed(entropy, 4)) nats per character"
        + " (\(Format.fixed(entropy / log(2), 3)) bits)")
    report.line(
      "final smoothed loss:         \(Format.fixed(loss, 4)) nats per character"
        + " (\(Format.fixed(loss / log(2), 3)) bits)")
    let verdict =
      loss < 0.8 * entropy
      ? "well below the entropy: the model has learned from context"
      : loss < entropy
        ? "below the entropy, but not by much: too few steps, or a text with little structure"
        : "not below the entropy: too few steps, or a text without structure"
    report.line("loss / entropy:              \(Format.fixed(loss / entropy, 2)), \(verdict)")
    let sample = sample(model, count: 200)
    report.line("sample (temperature 0.8):")
    for line in sample.split(whereSeparator: \.isNewline) { report.line("  | \(line)") }

    var row = ResultRow("train", "character-rnn")
    row.pass = Pass.train.rawValue
    row.mode = isMemoryGuardActive ? Mode.guarded.rawValue : Mode.unguarded.rawValue
    row.cell = options.cell.rawValue
    row.samples = times
    row.firstNanoseconds = times.values.first
    row.loss = loss
    row.extra = [
      ("text", .string(corpus.name)), ("characters", .number(Double(corpus.codes.count))),
      ("vocabulary", .number(Double(corpus.vocabulary.count))),
      ("hidden", .number(Double(options.hidden))), ("length", .number(Double(options.length))),
      ("batch", .number(Double(options.batch))), ("steps", .number(Double(steps))),
      ("characters_per_second", .number(speed)), ("unigram_entropy", .number(entropy)),
      ("sample", .string(sample)),
    ]
    report.add(row)
  }

  /// Lets the model write on from the first characters of the text, one character at a time.
  private func sample(_ model: CharacterModel, count: Int, temperature: Double = 0.8) -> String {
    var random = RandomState(seed: 2)
    var state = model.initialState(batch: 1)
    var written = Array(corpus.codes.prefix(16))
    noAutodiff {
      for character in written.dropLast() {
        state = model.step(state, NDArray([character], shape: [1]))
      }
      while written.count < count {
        state = model.step(state, NDArray([written.last!], shape: [1]))
        let logits = model.logits(state.hidden).elements(as: Float.self).map {
          Double($0) / temperature
        }
        let largest = logits.max()!
        let weights = logits.map { exp($0 - largest) }
        var remaining = random.uniform() * weights.reduce(0, +)
        let choice = weights.firstIndex { weight in
          remaining -= weight
          return remaining < 0
        }
        written.append(choice ?? weights.count - 1)
      }
    }
    return corpus.text(written)
  }
}

/// An exponential moving average that starts unbiased.
private struct SmoothedLoss {
  private static let decay = 0.98
  private var sum = 0.0
  private var weight = 0.0

  var value: Double { sum / weight }

  mutating func add(_ loss: Double) {
    sum = Self.decay * sum + (1 - Self.decay) * loss
    weight = Self.decay * weight + (1 - Self.decay)
  }
}
