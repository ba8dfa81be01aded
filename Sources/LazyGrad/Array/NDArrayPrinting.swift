// Text of arrays, character for character as NumPy's `repr` with its default options. Uses
// ElementFormat for the single elements.

internal import LazyGradJIT

/// Prints arrays; the word in front is a parameter, so tensors use the same code.
struct ArrayPrinter {
  /// Arrays with more elements show only the ends of each axis.
  static let threshold = 1000
  static let edgeItems = 3
  static let lineWidth = 75
  /// More words than this are not printed at all. Only arrays with dozens of axes, which views can
  /// make from a single element, have that many corners.
  private static let maxWords = 1 << 18

  /// The words of the shown elements in C order.
  private let words: [String]
  private let shape: [Int]
  private let isSummary: Bool
  /// Counts the words that have been used.
  private var next = 0

  /// The text of `array` with `prefix` as the name of its type: `array([1., 2.])`.
  ///
  /// The element type is added where it does not follow from the elements, the shape where the
  /// elements don't show it.
  static func description(of array: NDArray, prefix: String) -> String {
    let shape = array.shape
    let count = array.count
    let isSummary = count > threshold
    var extras: [String] = []
    if count == 0 ? shape != [0] : isSummary {
      let lengths = shape.map(String.init).joined(separator: ", ")
      extras.append("shape=(\(lengths)\(shape.count == 1 ? "," : ""))")
    }
    let isImplied = array.dtype == .float64 || array.dtype == .int64 || array.dtype == .bool
    if !isImplied || count == 0 { extras.append("dtype=\(array.dtype)") }

    let indent = String(repeating: " ", count: prefix.utf8.count + 1)
    let body = body(of: array, isSummary: isSummary, indent: indent)
    var text = "\(prefix)(\(body)"
    if extras.isEmpty { return text + ")" }
    text += ","
    let extra = extras.joined(separator: ", ") + ")"
    let lastLine = text.utf8.reversed().prefix { $0 != UInt8(ascii: "\n") }.count
    text += lastLine + 1 + extra.utf8.count > lineWidth ? "\n\(indent)" : " "
    return text + extra
  }

  private static func body(of array: NDArray, isSummary: Bool, indent: String) -> String {
    if array.count == 0 { return "[]" }
    // What each axis shows: everything, or its first and its last elements.
    let shown = array.shape.map { length in
      isSummary && length > 2 * edgeItems
        ? Array(0..<edgeItems) + Array((length - edgeItems)..<length) : Array(0..<length)
    }
    var wordCount = 1
    for items in shown {
      wordCount *= items.count
      if wordCount > maxWords { return "..." }
    }
    var places = [array.offset]
    for (items, stride) in zip(shown, array.strides) {
      places = places.flatMap { place in items.map { place + $0 * stride } }
    }
    // What tells of a lack of memory must not lack it.
    let chosen = NDArray(
      storage: Storage(unlimited: places.count * array.dtype.size),
      layout: LayoutTable.shared.intern(dims: array.rank == 0 ? [] : [places.count]), offset: 0,
      dtype: array.dtype)
    array.gather(places, to: chosen)
    let words = ElementFormat.words(of: chosen)
    var printer = ArrayPrinter(words: words, shape: array.shape, isSummary: isSummary)
    return printer.list(axis: 0, indent: indent + " ", width: lineWidth - 1)
  }

  private init(words: [String], shape: [Int], isSummary: Bool) {
    self.words = words
    self.shape = shape
    self.isSummary = isSummary
  }

  /// The text of one sublist. `indent` stands in front of its continuation lines; `width` is the
  /// length that a line may have, less one for each bracket that may have to follow it.
  private mutating func list(axis: Int, indent: String, width: Int) -> String {
    if axis == shape.count {
      defer { next += 1 }
      return words[next]
    }
    let length = shape[axis]
    let isCut = isSummary && length > 2 * Self.edgeItems
    let itemCount = isCut ? 2 * Self.edgeItems : length
    let isRow = axis == shape.count - 1
    var items: [String] = []
    for i in 0..<itemCount {
      if isCut, i == Self.edgeItems { items.append("...") }
      items.append(list(axis: axis + 1, indent: indent + " ", width: width - 1))
    }
    if !isRow {
      let lineBreaks = String(repeating: "\n", count: shape.count - axis - 1)
      return "[" + items.joined(separator: ",\(lineBreaks)\(indent)") + "]"
    }
    var text = ""
    var line = indent
    for (i, item) in items.enumerated() {
      // The separator or bracket that follows needs one more column.
      if line.utf8.count + item.utf8.count > width - 1, line.utf8.count > indent.utf8.count {
        // Lines end without the blank that separates elements.
        text += line.dropLast() + "\n"
        line = indent
      }
      line += item
      if i < items.count - 1 { line += ", " }
    }
    return "[" + (text + line).dropFirst(indent.utf8.count) + "]"
  }
}
