"""The reader study: can a reader tell synthetic X-rays from real ones, when nothing but the picture tells?"""
