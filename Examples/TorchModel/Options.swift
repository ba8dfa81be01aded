// The command line of TorchModel.

import Foundation

/// What a run is to do.
struct Options {
  static let usage = """
    usage: TorchModel [--check] [--model FILE]
      --check        compares with what PyTorch computes, and ends
      --model FILE   another .safetensors file of the same network

    Without --check, each line of standard input is four numbers between blanks or commas: sepal length,
    sepal width, petal length and petal width in cm. Each gets one line: the species and how likely each
    is, or "error: " and what is wrong.
    """

  var check = false
  var model: String?

  init(_ arguments: [String]) {
    var rest = arguments.dropFirst()
    while let name = rest.popFirst() {
      switch name {
      case "--help": print(Self.usage); exit(0)
      case "--check": check = true
      case "--model":
        guard let file = rest.popFirst() else { stop("--model: expected a value behind it") }
        model = file
      default: stop("unexpected argument '\(name)'; --help says what there is")
      }
    }
  }
}

/// Writes a line that is no result.
func note(_ message: String) {
  FileHandle.standardError.write(Data("TorchModel: \(message)\n".utf8))
}

/// Ends the program with one line that says why.
func stop(_ message: String, status: Int32 = 2) -> Never {
  note(message)
  exit(status)
}
