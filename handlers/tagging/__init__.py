"""What a file says beside its samples: read, changed and written in the file's own way.

Each kind of tag (ID3, Vorbis comments, MP4 atoms, APEv2, ASF attributes, RIFF
chunks) is seen through the same few methods under the same common names.
"""
