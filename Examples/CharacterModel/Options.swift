// The command line of CharacterModel.

import Foundation

/// What a run is to do.
struct Options {
  static let usage = """
    usage: CharacterModel [text file] [option value]...
      --checkpoint FILE   go on from this file if it is there; save to it every 100 steps and at the end
      --steps N           how many steps there are in all (600)
      --width N           how wide the network is (128)
      --length N          characters that a step goes back (48)
      --streams N         places of the text that are read side by side (16)
      --rate X            learning rate (0.003)
      --seed N            which weights it begins with (1)
      --prompt TEXT       how the sample begins ("ROMEO:")
      --sample N          how many characters are written (400)
      --temperature X     how daring the sample is (0.7)
      --key N             which sample it is (1)
    """

  var text: String?
  var checkpoint: String?
  var steps = 600
  var width = 128
  var length = 48
  var streams = 16
  var rate = 0.003
  var seed: UInt64 = 1
  var prompt = "ROMEO:\n"
  var sample = 400
  var temperature = 0.7
  var key: UInt64 = 1

  init(_ arguments: [String]) {
    var rest = arguments.dropFirst()
    while let name = rest.popFirst() {
      func value() -> String {
        rest.popFirst() ?? { stop("\(name): expected a value behind it") }()
      }
      func number<N: LosslessStringConvertible & Comparable>(_ range: ClosedRange<N>) -> N {
        let text = value()
        if let number = N(text), range.contains(number) { return number }
        stop(
          "\(name): expected a number from \(range.lowerBound) to \(range.upperBound), got '\(text)'"
        )
      }
      switch name {
      case "--help": print(Self.usage); exit(0)
      case "--checkpoint": checkpoint = value()
      case "--steps": steps = number(0...10_000_000)
      case "--width": width = number(1...4096)
      case "--length": length = number(1...4096)
      case "--streams": streams = number(1...4096)
      case "--rate": rate = number(0...1)
      case "--seed": seed = number(0...UInt64.max)
      case "--prompt": prompt = value()
      case "--sample": sample = number(0...1_000_000)
      case "--temperature": temperature = number(0.01...100)
      case "--key": key = number(0...UInt64.max)
      default:
        if name.hasPrefix("-") || text != nil {
          stop("unexpected argument '\(name)'; --help says what there is")
        }
        text = name
      }
    }
  }

  /// What has to be the same for a training to go on to the same bits.
  var settings: String {
    "width \(width), length \(length), streams \(streams), rate \(rate), seed \(seed)"
  }
}

/// What is wrong with a file.
struct Unusable: Error, CustomStringConvertible {
  let description: String
}

/// Ends the program with one line that says why.
func stop(_ message: String, status: Int32 = 2) -> Never {
  FileHandle.standardError.write(Data("CharacterModel: \(message)\n".utf8))
  exit(status)
}
