// Reads handwritten digits, 8 x 8 pixels each, in two ways: row by row with a recurrent network, and as
// pictures with a convolutional one. Says how many of 360 images that neither has seen are read right:
//     swift run -c release Digits
// See Options.swift for what can be said.

import Foundation
import LazyGrad

/// Reads an image from its top row to its bottom row, eight pixels a step.
struct RowReader: Layer {
  let rows: RNN
  let dropout = Dropout(0.2)
  let output: Dense

  init(key: RandomKey) {
    let keys = key.split(2)
    rows = RNN(8, 96, dtype: .float32, key: keys[0])
    output = Dense(96, 10, dtype: .float32, key: keys[1])
  }

  /// Scores `[N, 10]` of images `[N, 8, 8]`. Recurrent layers take steps first: `[8, N, 8]`.
  func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
    let last = rows(x.swappedAxes(0, 1))[-1]
    return output(dropout(last, training: training))
  }
}

/// Looks for small patterns, then for patterns of these, then weighs what there is and where.
struct PictureReader: Layer {
  let strokes: Conv
  let norm = BatchNorm(16, dtype: .float32)
  let shapes: Conv
  let pool = MaxPool([2, 2])
  let dropout = Dropout(0.3)
  let output: Dense

  init(key: RandomKey) {
    let keys = key.split(3)
    strokes = Conv(1, 16, kernel: [3, 3], padding: [1], dtype: .float32, key: keys[0])
    shapes = Conv(16, 32, kernel: [3, 3], padding: [1], dtype: .float32, key: keys[1])
    output = Dense(32 * 2 * 2, 10, dtype: .float32, key: keys[2])
  }

  /// Scores `[N, 10]` of images `[N, 8, 8]`. A convolution wants an axis of channels: `[N, 1, 8, 8]`.
  func callAsFunction(_ x: Tensor, training: Bool) -> Tensor {
    var x = x.expandedDims(at: 1)
    x = pool(relu(norm(strokes(x), training: training)))
    x = pool(relu(shapes(x)))
    return output(dropout(x.reshaped(-1, 32 * 2 * 2), training: training))
  }
}

/// Images as floats from 0 to 1, with labels.
struct Images {
  let pixels: Tensor
  let labels: NDArray

  /// 1,797 digits that 43 people have written: `make_digits.py` says where they are from.
  init() throws {
    let archive = try NPZArchive(bytes: PackageResources.digits_npz, name: "digits.npz")
    pixels = Tensor(try archive.array("images"), copy: false).cast(to: .float32) / 16
    labels = try archive.array("labels")
  }

  private init(pixels: Tensor, labels: NDArray) { (self.pixels, self.labels) = (pixels, labels) }

  /// Some of the images, by their numbers.
  subscript(_ numbers: NDArray) -> Images {
    Images(pixels: pixels.takeRows(numbers), labels: labels[numbers])
  }

  var count: Int { labels.count }
}

/// Trains a network on images in batches of 32, in another order each time.
func train(_ network: some Layer, _ images: Images, epochs: Int, key: RandomKey) {
  let batches = images.count / 32
  let steps = epochs * batches
  let optimizer = AdamW(network, weightDecay: 0.01)
  let rate = LearningRate.oneCycle(0.005, steps: steps)
  let progress = TrainingProgress(steps: steps)
  for epoch in 0..<epochs {
    let order = Tensor.permutation(images.count, key: key.folded(in: UInt64(epoch))).array
    for start in stride(from: 0, to: batches * 32, by: 32) {
      let batch = images[order[start..<start + 32]]
      optimizer.rate = rate(optimizer.stepCount)
      let loss = optimizer.step {
        softmaxCrossEntropy(network(batch.pixels, training: true), batch.labels)
      }
      progress.update(loss: loss.item(), rate: optimizer.rate)
    }
  }
  progress.finish()
}

/// Trains a network and prints how it reads images that it has not seen.
func report(
  _ title: String, _ network: some Layer, _ data: (train: Images, test: Images), epochs: Int,
  seed: UInt64
) {
  // Dropout draws from the default stream.
  seedRandom(seed)
  let start = Date()
  train(network, data.train, epochs: epochs, key: RandomKey(seed).folded(in: 1))
  note(String(format: "%@: trained in %.1f s", title, -start.timeIntervalSinceNow))

  let scores = noAutodiff { network(data.test.pixels, training: false) }
  var confusion = ConfusionMatrix(classes: 10)
  confusion.add(scores, data.test.labels)
  let right = (0..<10).reduce(0) { $0 + confusion.counts[$1][$1] }
  print("\(title), \(network.parameterCount) parameters")
  print(
    "test accuracy \(String(format: "%.4f", confusion.accuracy)), \(right) of \(confusion.total)")
  print("\n\(confusion)\n")
  print("digit  precision  recall")
  for digit in 0..<10 {
    print(
      String(
        format: "%5d  %9.3f  %6.3f", digit, confusion.precision(of: digit),
        confusion.recall(of: digit)))
  }
  print()
}

let options = Options(CommandLine.arguments)
do {
  let images = try Images()
  // One of five is for the test. The split does not depend on the seed of the options.
  let order = Tensor.permutation(images.count, key: RandomKey(2024)).array
  let data = (train: images[order[360...]], test: images[order[0..<360]])
  print("\(data.train.count) images to train on, \(data.test.count) for the test\n")
  let keys = RandomKey(options.seed).split(2)
  for network in options.networks {
    let epochs = options.epochs[network]!
    switch network {
    case .rnn:
      report("RNN over rows", RowReader(key: keys[0]), data, epochs: epochs, seed: options.seed)
    case .cnn: report("CNN", PictureReader(key: keys[1]), data, epochs: epochs, seed: options.seed)
    }
  }
} catch { stop("\(error)", status: 1) }
