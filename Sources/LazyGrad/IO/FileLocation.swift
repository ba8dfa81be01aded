// The name of a file, as programs have it. Uses Foundation's URL.

import Foundation

/// The name of a file: a path as a `String`, or a `URL` of a file.
public protocol FileLocation {
  /// The path.
  var _filePath: String { get }
}

extension String: FileLocation {
  /// The text itself.
  public var _filePath: String { self }
}

extension URL: FileLocation {
  /// The path of a file URL. Of another one the whole text, which is no file's name.
  public var _filePath: String {
    scheme == nil || isFileURL ? path(percentEncoded: false) : absoluteString
  }
}
