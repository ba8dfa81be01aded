// Lines of standard input, whatever their bytes are and however long they want to be.

import Foundation

/// A line without its end.
enum Line {
  case bytes([UInt8])
  /// Longer than `LineReader.limit`; its bytes were not kept.
  case tooLong
}

/// Reads standard input line by line, in little memory.
struct LineReader {
  /// How many bytes a line may have.
  static let limit = 4096

  private var buffer: [UInt8] = []
  private var place = 0

  /// The next line; nil at the end of the input. The last one needs no end of line.
  mutating func next() -> Line? {
    var line: [UInt8] = []
    var (isTooLong, hasBegun) = (false, false)
    while true {
      if place == buffer.count {
        buffer = Array(FileHandle.standardInput.availableData)
        place = 0
        if buffer.isEmpty { return !hasBegun ? nil : isTooLong ? .tooLong : .bytes(line) }
      }
      hasBegun = true
      let end = buffer[place...].firstIndex(of: UInt8(ascii: "\n"))
      let part = buffer[place..<(end ?? buffer.count)]
      isTooLong = isTooLong || line.count + part.count > Self.limit
      if isTooLong { line = [] } else { line += part }
      place = part.endIndex
      if end != nil {
        place += 1
        return isTooLong ? .tooLong : .bytes(line)
      }
    }
  }
}
